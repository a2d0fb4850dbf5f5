"""Headers with units become the schema's columns; nothing without a unit does."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.units import CONVERSIONS, current_unit, fold, refused, spellings
from surrogates.cells import COLUMNS

HEADERS = sorted(CONVERSIONS)
PRESSURES = [header for header in HEADERS if CONVERSIONS[header].column == "pressure_kpa"]
KPA = {
    "pressure_psi": 6.894757,
    "pressure_mpa": 1000,
    "pressure_bar": 100,
    "pressure_mbar": 0.1,
    "pressure_kg_cm2": 98.0665,
    "pressure_kgf_cm2": 98.0665,
    "pressure_pa": 0.001,
    "pressure_hpa": 0.1,
    "pressure_n_mm2": 1000,
    "pressure_n_cm2": 10,
    "pressure_atm": 101.325,
}
VALUES = st.floats(min_value=1e-6, max_value=1e6)


@pytest.mark.parametrize(
    ("header", "folded"),
    [
        ("Pressure kPa", "pressure_kpa"),
        ("  PRESSURE-KPA ", "pressure_kpa"),
        ("Pressure (kPa)", "pressure_kpa"),
        ("Pressure [psi]", "pressure_psi"),
        ("Pressure / kPa", "pressure_kpa"),
        ("Pressure\n(kPa)", "pressure_kpa"),
        ("Pressure (N/mm²)", "pressure_n_mm2"),
        ("Pressure (kg/cm^2)", "pressure_kg_cm2"),
        ("Current density (mA/cm²)", "current_density_ma_cm2"),
        ("Current density / mA cm⁻²", "current_density_ma_cm2"),
        ("Current density [A g-1]", "current_density_a_g"),
        ("Coulombic efficiency (%)", "coulombic_efficiency_percent"),
        ("Temperature (°C)", "temperature_c"),
        ("Temperature (℃)", "temperature_c"),
        ("Deposit thickness (µm)", "deposit_thickness_um"),
        ("Deposit thickness (μm)", "deposit_thickness_um"),
        ("XRD (002)/(100) ratio", "xrd_002_100_ratio"),
        ("压力/kPa", "压力_kpa"),
        ("", ""),
    ],
)
def test_spelling_is_folded_and_nothing_else(header: str, folded: str) -> None:
    assert fold(header) == folded


@pytest.mark.parametrize("name", [*COLUMNS, *HEADERS])
def test_known_names_fold_to_themselves_and_are_not_refused(name: str) -> None:
    assert fold(name) == fold(name.upper().replace("_", " ")) == name
    assert refused(name) == ()


@given(st.text(max_size=30))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_every_conversion_ends_in_a_column_and_replaces_none() -> None:
    assert {conversion.column for conversion in CONVERSIONS.values()} <= set(COLUMNS)
    assert not set(CONVERSIONS) & set(COLUMNS)


@pytest.mark.parametrize(
    ("header", "value", "converted"),
    [
        ("pressure_mpa", 0.07, 70.0),
        ("pressure_psi", 10.0, 68.94757),
        ("pressure_sd_bar", 0.3, 30.0),
        ("cycle_life_d", 2.5, 60.0),
        ("cycle_life_min", 90.0, 1.5),
        ("coulombic_efficiency_percent", 98.4, 0.984),
        ("capacity_retention_percent", 95.0, 0.95),
        ("relative_density_percent", 60.0, 0.6),
        ("nucleation_overpotential_v", 0.045, 45.0),
        ("particle_size_nm", 350.0, 0.35),
        ("deposit_thickness_nm", 1200.0, 1.2),
        ("temperature_k", 298.15, 25.0),
        ("temperature_f", 77.0, 25.0),
        ("current_density_a_m2", 10.0, 1.0),
        ("current_density_ma_g", 200.0, 0.2),
        ("areal_capacity_ah_m2", 10.0, 1.0),
        ("initial_capacity_ah_kg", 300.0, 300.0),
    ],
)
def test_conversions_are_correctly_rounded(header: str, value: float, converted: float) -> None:
    assert CONVERSIONS[header](value) == converted


def test_table_of_pressures_is_complete() -> None:
    assert set(KPA) == set(PRESSURES)
    assert set(spellings("pressure_sd_kpa")[1:]) == {name.replace("pressure", "pressure_sd") for name in PRESSURES}


@given(st.sampled_from(PRESSURES), VALUES)
def test_pressure_is_the_direct_factor_there_and_back(header: str, value: float) -> None:
    kpa = CONVERSIONS[header](value)
    assert kpa == pytest.approx(value * KPA[header], rel=1e-14)
    assert kpa / KPA[header] == pytest.approx(value, rel=1e-14)
    assert CONVERSIONS[header.replace("pressure", "pressure_sd")](value) == kpa


@given(st.sampled_from(HEADERS), VALUES, VALUES)
def test_conversions_rise_strictly(header: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    convert = CONVERSIONS[header]
    assert convert(low) <= convert(high)
    if high - low > 1e-9 * (1 + high):
        assert convert(low) < convert(high)


def test_a_value_out_of_range_becomes_infinite_with_its_sign() -> None:
    assert CONVERSIONS["pressure_mpa"](1e308) == math.inf
    assert CONVERSIONS["pressure_mpa"](-1e308) == -math.inf
    assert CONVERSIONS["pressure_mpa"](-math.inf) == -math.inf
    assert math.isnan(CONVERSIONS["pressure_mpa"](math.nan))


@pytest.mark.parametrize(
    ("header", "choice"),
    [
        ("Pressure", "pressure_psi"),
        ("pressure_sd", "pressure_sd_kpa"),
        ("cycle_life", "cycle_life_cycles"),
        ("life", "cycle_life_h"),
        ("cycles", "retention_cycles"),
        ("overpotential", "nucleation_overpotential_v"),
        ("nucleation overpotential", "nucleation_overpotential_mv"),
        ("temperature", "temperature_k"),
        ("particle_size", "particle_size_nm"),
        ("deposit_thickness", "deposit_thickness_um"),
        ("capacity", "areal_capacity_mah_cm2"),
        ("torque", "pressure_kpa"),
        ("Screw torque (N·m)", "pressure_kpa"),
    ],
)
def test_a_quantity_without_its_unit_is_refused_with_its_choices(header: str, choice: str) -> None:
    assert choice in refused(fold(header))


@pytest.mark.parametrize("header", ["coulombic_efficiency", "current_density", "operator", "pressure_sensor", ""])
def test_nothing_else_is_refused(header: str) -> None:
    assert refused(fold(header)) == ()


def test_units_of_current_density_are_spelled_as_in_the_schema() -> None:
    assert [current_unit(text) for text in ("mA/cm²", "mA cm⁻²", "mA cm^-2", "MA/CM2")] == ["mA/cm2"] * 4
    assert [current_unit(text) for text in ("A/g", "A g-1")] == ["A/g"] * 2
    assert current_unit("mA/g") == "mA/g"
