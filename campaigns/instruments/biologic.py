"""BioLogic text exports (.mpt, and .txt of BT-Lab): some fifty lines about the settings, then tabs; often decimal commas.

The binary .mpr is read by `biologic_binary`, where the user has chosen a reader under the GPL.
"""

from campaigns.instruments import series
from campaigns.instruments.columns import NET, STEP_TIME
from campaigns.instruments.tabular import TableFormat

READER = TableFormat(
    name="BioLogic text",
    names={
        series.TIME: ("time",),
        STEP_TIME: ("step time",),
        series.VOLTAGE: ("Ecell", "Ewe-Ece", "Ewe", "<Ewe>"),
        series.CURRENT: ("I", "<I>"),
        series.CYCLE: ("cycle number",),
        series.STEP: ("Ns",),
        series.CHARGED: ("Q charge",),
        series.DISCHARGED: ("Q discharge",),
        series.MAGNITUDE: ("Q charge/discharge",),
        NET: ("(Q-Qo)",),
        series.TEMPERATURE: ("Temperature",),
    },
    marks=("Ecell", "Ewe", "<Ewe>", "Ewe-Ece"),
)
