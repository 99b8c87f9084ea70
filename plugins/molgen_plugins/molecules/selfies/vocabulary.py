"""The symbols of SELFIES that every model knows. Their order is frozen: it is what class ids mean.

The table holds the library's semantically robust alphabet under each of its presets, every symbol of MOSES,
ZINC250k and QM9, and the atoms of `vocabulary` with the bonds by which users' libraries commonly reach them.
"""

from __future__ import annotations

_GROUPS = {
    "organic atoms": (
        r"[C] [=C] [#C] [/C] [\C] [N] [=N] [#N] [/N] [\N] [O] [=O] [/O] [\O] [S] [=S] [#S] [/S] [\S] [F] [/F] [\F] "
        r"[Cl] [=Cl] [#Cl] [/Cl] [\Cl] [Br] [=Br] [#Br] [/Br] [\Br] [I] [=I] [#I] [/I] [\I] [P] [=P] [#P] [/P] [\P] "
        r"[B] [=B] [#B] [/B] [\B]"
    ),
    "branches": r"[Branch1] [Branch2] [Branch3] [=Branch1] [=Branch2] [=Branch3] [#Branch1] [#Branch2] [#Branch3]",
    "rings": (
        r"[Ring1] [Ring2] [Ring3] [=Ring1] [=Ring2] [=Ring3] [#Ring1] [#Ring2] [#Ring3] [-/Ring1] [-/Ring2] [-/Ring3] "
        r"[-\Ring1] [-\Ring2] [-\Ring3] [/-Ring1] [/-Ring2] [/-Ring3] [\-Ring1] [\-Ring2] [\-Ring3] [//Ring1] "
        r"[//Ring2] [//Ring3] [/\Ring1] [/\Ring2] [/\Ring3] [\/Ring1] [\/Ring2] [\/Ring3] [\\Ring1] [\\Ring2] "
        r"[\\Ring3]"
    ),
    "fragments": r".",
    "stereo centres": (
        r"[C@@H1] [/C@@H1] [\C@@H1] [C@H1] [/C@H1] [\C@H1] [C@] [/C@] [\C@] [C@@] [/C@@] [\C@@] [S@] [=S@] [/S@] [\S@] "
        r"[S@@] [=S@@] [/S@@] [\S@@] [S@+1] [=S@+1] [/S@+1] [\S@+1] [S@@+1] [=S@@+1] [/S@@+1] [\S@@+1] [P@] [=P@] "
        r"[/P@] [\P@] [P@@] [=P@@] [/P@@] [\P@@] [P@+1] [=P@+1] [P@@+1] [=P@@+1] [P@H1] [=P@H1] [P@@H1] [=P@@H1] [N@] "
        r"[N@@] [N@+1] [=N@+1] [/N@+1] [\N@+1] [N@@+1] [=N@@+1] [/N@@+1] [\N@@+1] [N@H1+1] [N@@H1+1] [Si@] [/Si@] "
        r"[\Si@] [Si@@] [/Si@@] [\Si@@] [Si@H1] [Si@@H1] [B@-1] [B@@-1] [Se@] [=Se@] [Se@@] [=Se@@]"
    ),
    "carbon": (
        r"[C-1] [=C-1] [#C-1] [/C-1] [\C-1] [CH1-1] [=CH1-1] [/CH1-1] [\CH1-1] [CH2-1] [/CH2-1] [\CH2-1] [CH3-1] [C+1] "
        r"[=C+1] [#C+1] [/C+1] [\C+1] [CH1+1] [=CH1+1] [CH2+1] [CH0] [=CH0] [#CH0] [CH1] [=CH1] [/CH1] [\CH1] [CH2] "
        r"[/CH2] [\CH2] [CH3] [/CH3] [\CH3]"
    ),
    "nitrogen": (
        r"[NH1] [=NH1] [/NH1] [\NH1] [N+1] [=N+1] [#N+1] [/N+1] [\N+1] [NH1+1] [=NH1+1] [/NH1+1] [\NH1+1] [NH2+1] "
        r"[=NH2+1] [/NH2+1] [\NH2+1] [NH3+1] [/NH3+1] [\NH3+1] [NH4+1] [N-1] [=N-1] [/N-1] [\N-1] [NH1-1] [/NH1-1] "
        r"[\NH1-1] [NH2-1] [NH0] [=NH0] [NH2]"
    ),
    "oxygen and its group": (
        r"[O-1] [/O-1] [\O-1] [O+1] [=O+1] [#O+1] [/O+1] [\O+1] [OH1+1] [=OH1+1] [/OH1+1] [\OH1+1] [OH2+1] [OH0] "
        r"[=OH0] [OH1] [OH1-1] [O-2] [S-1] [=S-1] [#S-1] [/S-1] [\S-1] [S+1] [=S+1] [#S+1] [/S+1] [\S+1] [SH1+1] "
        r"[=SH1+1] [/SH1+1] [\SH1+1] [SH2+1] [SH0] [=SH0] [SH1] [=SH1] [SH1-1] [S-2] [Se] [=Se] [/Se] [\Se] [SeH1] "
        r"[=SeH1] [Se-1] [/Se-1] [\Se-1] [Se+1] [=Se+1] [Te] [=Te] [/Te] [\Te] [TeH1]"
    ),
    "phosphorus and its group": (
        r"[P+1] [=P+1] [#P+1] [/P+1] [\P+1] [PH1+1] [=PH1+1] [PH2+1] [=PH2+1] [PH3+1] [P-1] [=P-1] [#P-1] [PH1] [=PH1] "
        r"[/PH1] [\PH1] [PH2] [=PH2] [PH0] [=PH0] [As] [=As] [#As] [/As] [\As] [As+1] [=As+1] [AsH1] [=AsH1] [AsH2] "
        r"[Sb] [=Sb]"
    ),
    "boron, silicon, germanium, tin": (
        r"[B-1] [=B-1] [#B-1] [/B-1] [\B-1] [BH1-1] [=BH1-1] [BH2-1] [BH3-1] [BH4-1] [BH1] [=BH1] [Si] [=Si] [#Si] "
        r"[/Si] [\Si] [SiH1] [=SiH1] [/SiH1] [\SiH1] [SiH2] [=SiH2] [/SiH2] [\SiH2] [SiH3] [/SiH3] [\SiH3] [SiH4] "
        r"[Si-1] [Ge] [=Ge] [/Ge] [\Ge] [Sn] [=Sn] [/Sn] [\Sn] [B+1] [=B+1]"
    ),
    "halogens and hydrogen": (
        r"[H] [/H] [\H] [H+1] [H-1] [F-1] [F+1] [Cl-1] [Cl+1] [=Cl+1] [Cl+2] [=Cl+2] [Cl+3] [=Cl+3] [Br-1] [Br+1] "
        r"[=Br+1] [Br+2] [I-1] [I+1] [=I+1] [I+2] [=I+2] [I+3] [IH1]"
    ),
    "isotopes": (
        r"[2H] [/2H] [\2H] [3H] [/3H] [\3H] [11C] [=11C] [#11C] [/11C] [\11C] [11CH3] [/11CH3] [\11CH3] [11CH2] [13C] "
        r"[=13C] [#13C] [/13C] [\13C] [13CH1] [=13CH1] [/13CH1] [\13CH1] [13CH2] [=13CH2] [/13CH2] [\13CH2] [13CH3] "
        r"[/13CH3] [\13CH3] [13C@H1] [/13C@H1] [\13C@H1] [13C@@H1] [/13C@@H1] [\13C@@H1] [14C] [=14C] [#14C] [/14C] "
        r"[\14C] [14CH1] [=14CH1] [/14CH1] [\14CH1] [14CH2] [=14CH2] [/14CH2] [\14CH2] [14CH3] [/14CH3] [\14CH3] [13N] "
        r"[13NH3] [15N] [=15N] [#15N] [/15N] [\15N] [15NH1] [=15NH1] [/15NH1] [\15NH1] [15NH2] [/15NH2] [\15NH2] "
        r"[15N+1] [=15N+1] [15O] [=15O] [17O] [=17O] [18O] [=18O] [/18O] [\18O] [18OH1] [18F] [/18F] [\18F] [18F-1] "
        r"[32P] [35S] [=35S] [76Br] [82Br] [123I] [/123I] [\123I] [124I] [125I] [/125I] [\125I] [131I]"
    ),
    "ions and metals": (
        r"[Li] [Li+1] [Na] [Na+1] [K] [K+1] [Rb+1] [Cs+1] [Mg] [Mg+1] [Mg+2] [Ca] [Ca+2] [Sr+2] [Ba+2] [Al] [Al+3] "
        r"[Zn] [Zn+2] [Fe] [Fe+2] [Fe+3] [Co] [Co+2] [Co+3] [Ni] [Ni+2] [Cu] [Cu+1] [Cu+2] [Mn] [Mn+2] [Ag] [Ag+1] "
        r"[Au] [Au+1] [Pt] [Pt+2] [Pt+4] [Pd] [Pd+2] [Ru] [Ru+2] [Rh] [Ir] [Ti] [Bi] [Bi+3] [Hg] [Hg+2] [Gd+3] [Tc]"
    ),
}

#: Every known symbol; the id of a symbol is its place in this table.
SYMBOLS: tuple[str, ...] = tuple(symbol for group in _GROUPS.values() for symbol in group.split())

#: How many further symbols a model can learn from its training molecules.
SPARE_ROWS = 32

#: The most bonds that RDKit accepts at atoms that the library's tables of constraints do not name. With them every
#: string of known symbols is a molecule; the metals are not here, because RDKit lets them have any number.
MOST_BONDS = {
    "Al": 3, "Al+3": 0, "As": 5, "As+1": 4, "Bi": 5, "Br-1": 0, "Br+1": 6, "Br+2": 5, "Cl-1": 0, "Cl+1": 6, "Cl+2": 5,
    "Cl+3": 4, "Cs+1": 6, "F-1": 0, "F+1": 2, "Ge": 4, "H-1": 2, "I-1": 6, "I+1": 6, "I+2": 5, "I+3": 4, "O-2": 0,
    "S-2": 4, "Sb": 5, "Se-1": 5, "Se": 6, "Se+1": 5, "Si-1": 5, "Si": 4, "Sn": 4, "Te": 6,
}  # fmt: skip
