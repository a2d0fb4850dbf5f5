"""LANDT / LANHE exports, CSV and XLSX, in English and Chinese: lines about the test stand before the table."""

from campaigns.instruments import series
from campaigns.instruments.columns import STEP_TIME
from campaigns.instruments.tabular import TableFormat

READER = TableFormat(
    name="LANDT table",
    names={
        series.TIME: ("test_time", "TestTime", "测试时间"),
        STEP_TIME: ("step_time", "StepTime", "步骤时间", "工步时间"),
        series.VOLTAGE: ("voltage", "电压", "Volts=V"),
        series.CURRENT: ("current", "电流", "Amps=A"),
        series.UNIX_TIME: ("date_time_iso_string", "SysTime", "系统时间", "绝对时间", "DPt-Time"),
        series.CYCLE: ("cycle_index", "Cycle-Index", "Cycle", "循环序号", "Cyc#"),
        series.STEP: ("step_index", "Step-Index", "StepNo", "Step", "工步序号"),
        series.STEP_TYPE: ("step_name", "Mode", "工作模式", "WorkMode", "State"),
        series.CHARGED: ("charge_capacity", "充电容量"),
        series.DISCHARGED: ("discharge_capacity", "放电容量"),
        series.MAGNITUDE: ("Capacity", "容量", "Amp-hr=Ah"),
        series.TEMPERATURE: ("temperature_1", "温度"),
    },
    marks=(
        *("date_time_iso_string", "channel_index", "Cycle-Index", "Step-Index", "StepNo", "SysTime", "DPt-Time"),
        *("TestTime/Sec", "StepTime/Sec", "测试时间/Sec", "步骤时间/Sec", "工作模式"),
    ),
)
