"""Arbin exports, CSV and XLSX (MITS Pro): "Test Time (s)" or "Test_Time(s)"; counters run on over the cycle."""

from campaigns.instruments import series
from campaigns.instruments.columns import STEP_TIME
from campaigns.instruments.tabular import TableFormat

READER = TableFormat(
    name="Arbin table",
    names={
        series.TIME: ("Test Time",),
        STEP_TIME: ("Step Time",),
        series.VOLTAGE: ("Voltage",),
        series.CURRENT: ("Current",),
        series.UNIX_TIME: ("Date Time",),
        series.CYCLE: ("Cycle Index",),
        series.STEP: ("Step Index",),
        series.CHARGED: ("Charge Capacity",),
        series.DISCHARGED: ("Discharge Capacity",),
        series.TEMPERATURE: ("Aux Temperature 1",),
    },
    marks=("Data Point", "Data_Point", "TC_Counter1", "Internal Resistance", "Is_FC_Data"),
)
