"""Any table that names quantity and unit ("time_s", "Voltage (V)", "I/mA"), and tables by a column map of the user's."""

from __future__ import annotations

from campaigns.instruments import arbin, bdf, biologic, landt, neware, series
from campaigns.instruments.columns import KINDS, Names
from campaigns.instruments.tabular import TableFormat

_OWN: Names = {
    series.TIME: ("total time", "elapsed time", "run time", "test time", "time", "t"),
    series.VOLTAGE: ("voltage", "potential", "cell voltage", "U", "E", "V"),
    series.CURRENT: ("current", "I", "cell current"),
    series.UNIX_TIME: ("date", "timestamp", "datetime"),
    series.CYCLE: ("cycle", "cycle number"),
    series.STEP: ("step", "step number"),
    series.STEP_TYPE: ("step type", "status"),
}
_KNOWN = (_OWN, bdf.NAMES, neware.READER.names, landt.READER.names, arbin.READER.names, biologic.READER.names)
NAMES: Names = {
    quantity: tuple(dict.fromkeys(name for names in _KNOWN for name in names.get(quantity, ()))) for quantity in KINDS
}
READER = TableFormat(name="plain table", names=NAMES)
