"""Named priors, one function each. Every number says where it comes from; where nothing could be read it says so.

Grades: [R] read in the paper or its data; [Ab] only its abstract was read; [Calc] computed from public data;
"judgement": no source. What was only heard of, in news or from vendors, is not used.

Sources
-------
Wen2025         Y. Wen et al., Small (2025), doi:10.1002/sml.202501242: zinc at 20, 300, 1000 kPa                [R]
ZincTable       PMC7053421, table 3: coulombic efficiencies of zinc                                              [R]
Miao2024        Miao et al., Chem. Sci. (2024), doi:10.1039/D4SC06319H: zinc over current density                [Ab]
ZN-coin         zinc coin cells of BatteryLife (github.com/Ruifeng-Tan/BatteryLife): scatter of replicates       [Calc]
BatteryLife     pouch and cylindrical Li-ion cells of the same collection: scatter of replicates                 [Calc]
Louli2019       A. J. Louli et al., J. Electrochem. Soc. 166, A1291, doi:10.1149/2.0091908jes: anode-free pouch
                cells, 75-2205 kPa; most of the gain in cycle life by 1200 kPa                                   [Ab]
RSCAdv2020      RSC Adv. 10, 17805 (2020), doi:10.1039/D0RA02788J: lithium metal; coulombic efficiency 10 % higher
                under pressure, life shorter above 1.39 MPa                                                      [Ab]
Hirai1994       Hirai et al., J. Electrochem. Soc. 141, 611: lithium; figure of merit highest at 50 and 75 kg cm-2
                (4.9 and 7.4 MPa) with two solutes, still rising at 12.3 MPa with others                         [Ab]
WangFDMB        Wang et al., lithium in 1 M LiFSI/FDMB: equally long life over 30-600 psi (207-4137 kPa), in a
                carbonate longer with pressure                                                                   [Ab]
Bassett2023     Bassett et al., doi:10.3389/fbael.2023.1292639: Li||Cu pouch, steadier at 10-1000 kPa than at none [Ab]
Weber2019       Weber et al., Nat. Energy 4, 683, doi:10.1038/s41560-019-0428-9: anode-free pouch, 80 % of its
                capacity at 90 cycles                                                                            [Ab]
AnodeLess       conference abstract, anode-less NMC811, up to 400 kPa: coulombic efficiency up to 99.2 %         [Ab]
Willow2022      Willow et al., doi:10.3389/fenrg.2022.888321: Na||Cu, high cycle life only at 743 kPa, the highest [Ab]
Cannarella2014  Cannarella and Arnold, J. Power Sources 245, 745: commercial pouch cells; little pressure beats
                none, more shortens life                                                                         [Ab]
Mueller2019     Mueller et al., doi:10.1016/j.jpowsour.2019.227148: graphite/NMC622 at 0 and 0.84 MPa            [Ab]
Pouch2023       "Detrimental electrochemical behavior caused by excessive high pressure on Li-ion pouch-type full
                cell", Electrochem. Commun. (July 2023): 0-3 MPa; 3 MPa plates lithium and clogs pores; the best
                cell kept 82 % after 200 cycles                                                                  [Ab]
IMLB2016        IMLB 2016, preliminary: NMC/graphite pouch cells fade more at low pressure                       [Ab]
LFP2025         Appl. Sci. 15, 12528 (2025): LFP/graphite on the shelf at 60 C, largely unaffected by preload    [Ab]
Batteries2024   Batteries 10, 72 (2024): commercial pouch cells in a design over 0.2, 0.5, 0.8, 1.2 MPa          [Ab]
"""

from __future__ import annotations

from collections.abc import Callable

from surrogates.prior import Level, LogNormal, Normal, Prior, Probability, Readout

JUDGEMENT = "judgement"


def default() -> Prior:
    """Any electrode pair. Claims no best pressure of a pair: 500 kPa is the middle of what was read for many."""
    shape = "Wen2025 [R], shape of the outcomes over three pressures"
    return Prior(
        name="default",
        summary="Any electrode pair, when nothing else is known: two competing degradation modes over stacking pressure.",
        best_pressure=LogNormal(
            median=500,
            sd_ln=1.0,
            unit="kPa",
            source="Wen2025 [R]: zinc 0.1-0.7 MPa; Willow2022 [Ab]: sodium 0.74 MPa or more; "
            "Louli2019, RSCAdv2020 [Ab]: lithium 1.2-1.4 MPa; middle and width by judgement",
        ),
        slope_contact=LogNormal(median=1.0, sd_ln=0.4, unit="1", source=shape),
        slope_short=LogNormal(median=1.0, sd_ln=0.4, unit="1", source=shape),
        current_shift=Normal(mean=0.0, sd=0.3, unit="ln(kPa) per factor e of current density", source=JUDGEMENT),
        current_effect=Normal(
            mean=0.0,
            sd=1.0,
            unit="model scale per factor e of current density",
            source="Miao2024 [Ab]: not monotone; width by judgement",
        ),
        scatter_sd=LogNormal(
            median=0.3,
            sd_ln=0.3,
            unit="1",
            source="ZN-coin [Calc]: 0.30; BatteryLife [Calc]: Li-ion 0.06-0.26",
        ),
        scatter_growth=Normal(
            mean=0.0,
            sd=0.4,
            unit="ln(scatter) per factor e of outcome",
            source="ZN-coin [Calc]: scatter 0.154 where replicates live under 300 cycles, 0.425 above; "
            "one set, so mean 0 and width by judgement",
        ),
        residual_sd=LogNormal(median=0.2, sd_ln=0.5, unit="1", source=JUDGEMENT),
        residual_length=LogNormal(median=0.8, sd_ln=0.2, unit="ln(kPa)", source=JUDGEMENT),
        free_sd=LogNormal(median=1.0, sd_ln=0.5, unit="1", source="Wen2025 [R], spread of ln(life) over pressure"),
        free_length=LogNormal(median=1.2, sd_ln=0.3, unit="ln(kPa)", source=JUDGEMENT),
        levels=_default_levels(),
        readouts=_readouts(),
        no_effect=Probability(probability=0.1, source="WangFDMB, LFP2025 [Ab]: no effect seen; share by judgement"),
        no_physics=Probability(probability=0.1, source=JUDGEMENT),
        odd_cell=Probability(probability=0.05, source=JUDGEMENT),
        does_not_claim=(
            "The best pressure of any particular pair.",
            "That overpotential, texture or density cause a longer life.",
            "Anything above 30 MPa or below 1 kPa.",
        ),
    )


def zinc() -> Prior:
    """Metallic zinc in aqueous electrolytes, from one paper. Claims nothing that is independent of that paper."""
    base = default()
    return base.model_copy(
        update={
            "name": "zinc",
            "summary": "Metallic zinc anodes in aqueous electrolytes, liquid-wetted separators.",
            "best_pressure": LogNormal(
                median=250, sd_ln=0.8, unit="kPa", source="Wen2025 [R]: 20, 300 and 1000 kPa, one pair, no replicates"
            ),
            "does_not_claim": (
                *base.does_not_claim,
                "Independence of Wen2025: its three lives set the best pressure.",
            ),
        }
    )


def lithium_metal() -> Prior:
    """Lithium metal and anode-free cells in liquid electrolytes. Claims no slopes of its own.

    Best pressure: one vote a study, 1200 kPa (Louli2019), 1390 kPa (RSCAdv2020) and 6000 kPa (Hirai1994, geometric mean
    of its two) have the geometric mean 2150 kPa and the sd 0.9 in ln; rounded to 2000 kPa and, for the cells that still
    gained at 4.1 and 12.3 MPa, widened to 1.0. The 90 % range, 390 to 10400 kPa, holds every optimum read.
    """
    base = default()
    return base.model_copy(
        update={
            "name": "lithium-metal",
            "summary": "Lithium metal and anode-free cells in liquid electrolytes.",
            "best_pressure": LogNormal(
                median=2000,
                sd_ln=1.0,
                unit="kPa",
                source="Louli2019, RSCAdv2020, Hirai1994 [Ab]: 1.2, 1.39, 4.9 and 7.4 MPa, "
                "and still rising at 12.3 MPa",
            ),
            **_borrowed_slopes(base),
            "levels": {
                **base.levels,
                "cycle_life_h": base.levels["cycle_life_h"].model_copy(
                    update={"source": "judgement: no life of lithium in h was read; the default's, from zinc"}
                ),
                "cycle_life_cycles": Level(
                    median=90,
                    sd_y=1.2,
                    unit="cycles",
                    source="Weber2019 [Ab]: 80 % at 90 cycles, anode-free; width by judgement",
                ),
                "coulombic_efficiency": Level(
                    median=0.985,
                    sd_y=1.2,
                    unit="1",
                    source="AnodeLess [Ab]: 99.2 % at best, so the median lies below it, by judgement",
                ),
                "capacity_retention": Level(
                    median=0.78,
                    sd_y=1.2,
                    unit="1",
                    retention_cycles=100,
                    source="Weber2019 [Ab]: 80 % at 90 cycles, taken on to 100 as exponential; width by judgement",
                ),
            },
            "no_effect": Probability(
                probability=0.15, source="WangFDMB [Ab]: flat over 0.2-4.1 MPa, one of the six systems read"
            ),
            "does_not_claim": (
                *base.does_not_claim,
                "One best pressure for all electrolytes: the optima read lie a factor 6 apart.",
                "How sharp the optimum is in lithium: the slopes are those of zinc, widened.",
                "Solid electrolytes.",
            ),
        }
    )


def pouch_cell() -> Prior:
    """Lithium-ion pouch cells with intercalation electrodes. Claims no optimum: none was read, only bounds.

    Best pressure: above none (Cannarella2014, IMLB2016) and below 3 MPa (Pouch2023); its median is the geometric middle
    of the 0.2-1.2 MPa at which such cells are tested (Batteries2024), 490 kPa, its 95 % point 2600 kPa. Scatter: three
    sets of pouch cells, 0.085 (26 degrees of freedom), 0.113 (36) and 0.235 (44), whose pooled sd is 0.17.
    """
    base = default()
    return base.model_copy(
        update={
            "name": "pouch-cell",
            "summary": "Lithium-ion pouch cells with intercalation electrodes and liquid electrolytes.",
            "best_pressure": LogNormal(
                median=500,
                sd_ln=1.0,
                unit="kPa",
                source="Cannarella2014, IMLB2016 [Ab]: above none; Pouch2023 [Ab]: below 3 MPa; "
                "Batteries2024 [Ab]: tested at 0.2-1.2 MPa; middle and width by judgement",
            ),
            **_borrowed_slopes(base),
            "scatter_sd": LogNormal(
                median=0.15,
                sd_ln=0.5,
                unit="1",
                source="BatteryLife [Calc]: pouch cells 0.085 (Stanford), 0.113 (MICH), 0.235 (ISU-ILCC)",
            ),
            "levels": {
                **base.levels,
                "cycle_life_h": Level(
                    median=2000, sd_y=1.5, unit="h", source="judgement: 500 cycles of 4 h; tests last months to years"
                ),
                "cycle_life_cycles": Level(
                    median=500,
                    sd_y=1.2,
                    unit="cycles",
                    source="Pouch2023 [Ab]: 82 % after 200 cycles is 80 % at 225, from a lab cell; more by judgement",
                ),
                "coulombic_efficiency": Level(
                    median=0.999,
                    sd_y=1.2,
                    unit="1",
                    source="Pouch2023 [Ab]: loses 0.1 % of its capacity a cycle; taken for the efficiency by judgement",
                ),
                "capacity_retention": Level(
                    median=0.9,
                    sd_y=1.2,
                    unit="1",
                    retention_cycles=100,
                    source="Pouch2023 [Ab]: 82 % after 200 cycles is 91 % after 100 as exponential; width by judgement",
                ),
            },
            "no_effect": Probability(
                probability=0.2, source="LFP2025 [Ab]: largely unaffected by preload, one of the five studies read"
            ),
            "does_not_claim": (
                *base.does_not_claim,
                "An optimum that was read anywhere: only that none is too little and 3 MPa too much.",
                "How sharp the optimum is in pouch cells: the slopes are those of zinc, widened.",
                "Cells held at a constant gap, whose pressure drifts.",
            ),
        }
    )


NAMED: dict[str, Callable[[], Prior]] = {
    "default": default,
    "zinc": zinc,
    "lithium-metal": lithium_metal,
    "pouch-cell": pouch_cell,
}


def _default_levels() -> dict[str, Level]:
    return {
        "cycle_life_h": Level(
            median=100, sd_y=2.0, unit="h", source="Wen2025 [R]: 14-104 h; zinc symmetric cells to 2500 h by judgement"
        ),
        "cycle_life_cycles": Level(
            median=200, sd_y=2.0, unit="cycles", source="Weber2019 [Ab]: 90, anode-free; Li-ion to 2000 by judgement"
        ),
        "coulombic_efficiency": Level(median=0.98, sd_y=1.5, unit="1", source="ZincTable [R]: 95-99.7 %"),
        "capacity_retention": Level(
            median=0.75, sd_y=1.5, unit="1", retention_cycles=100, source="Wen2025 [R]: Zn||VO2, 43.5-77.3 %"
        ),
        "initial_capacity_mah_g": Level(
            median=200, sd_y=0.7, unit="mAh/g", source="Wen2025 [R]: Zn||VO2, 138-225 mAh/g; width by judgement"
        ),
        "xrd_002_100_ratio": Level(median=2, sd_y=1.0, unit="ratio", source="Wen2025 [R]: 1.0-2.5; width by judgement"),
        "relative_density": Level(
            median=0.99, sd_y=0.03, unit="of the densest", source="Wen2025 [R]: 0.86-1.00, relative to the densest"
        ),
        "deposit_thickness_um": Level(median=6, sd_y=1.0, unit="um", source="Wen2025 [R]: 5.9-31.4 um"),
    }


def _borrowed_slopes(base: Prior) -> dict[str, LogNormal]:
    source = "Wen2025 [R]: zinc, for want of another; widened from 0.4 by judgement"
    return {
        name: parameter.model_copy(update={"sd_ln": 0.6, "source": source})
        for name, parameter in (("slope_contact", base.slope_contact), ("slope_short", base.slope_short))
    }


def _readouts() -> dict[str, Readout]:
    """Ratios read off the three pressures of Wen2025: one pair, no replicates, hence the wide distributions."""
    paper = "Wen2025 [R], 20, 300 and 1000 kPa"

    def ratio(median: float, sd_ln: float) -> LogNormal:
        return LogNormal(median=median, sd_ln=sd_ln, unit="1", source=paper)

    def scatter(median: float) -> LogNormal:
        return LogNormal(median=median, sd_ln=0.5, unit="1", source=JUDGEMENT)

    return {
        "initial_capacity_mah_g": Readout(
            shape="contact",
            pressure_ratio=ratio(0.05, 1.0),
            slope_ratio=ratio(1.0, 0.3),
            scatter_sd=scatter(0.08),
            carries_over=0.8,
            source=f"{paper}: 138, 225, 220 mAh g-1; capacity falls with lost contact only",
        ),
        "xrd_002_100_ratio": Readout(
            shape="two modes",
            pressure_ratio=ratio(1.0, 0.4),
            slope_ratio=ratio(0.5, 0.4),
            scatter_sd=scatter(0.2),
            carries_over=0.8,
            source=f"{paper}: 1.0, 2.5, 1.2, the order of the three lives",
        ),
        "relative_density": Readout(
            shape="contact",
            pressure_ratio=ratio(0.015, 1.0),
            slope_ratio=ratio(0.8, 0.3),
            scatter_sd=scatter(0.02),
            carries_over=0.7,
            source=f"{paper}: 0.86, 0.98, 1.00",
        ),
        "deposit_thickness_um": Readout(
            shape="contact",
            pressure_ratio=ratio(0.2, 1.0),
            slope_ratio=ratio(1.3, 0.3),
            scatter_sd=scatter(0.2),
            carries_over=0.7,
            source=f"{paper}: 31.4, 6.5, 5.9 um, mostly voids and dead zinc",
        ),
    }
