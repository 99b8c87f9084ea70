"""The tokens of SMILES strings that every model knows. Their order is frozen: it is what class ids mean.

The table holds every token of MOSES, ZINC250k and QM9 (as published and as RDKit writes them), and the
stereo, charge, isotope, metal and attachment tokens that users' libraries commonly add.
"""

from __future__ import annotations

_GROUPS = {
    "organic atoms": r"C c N n O o S s F Cl Br I P p B b *",
    "bonds and branches": r"( ) - = # $ : / \ . -> <-",
    "ring closures": r"1 2 3 4 5 6 7 8 9 0 %10 %11 %12 %13 %14 %15 %16 %17 %18 %19",
    "stereo centres": (
        r"[C@@H] [C@H] [C@] [C@@] [S@] [S@@] [S@+] [S@@+] [P@] [P@@] [P@+] [P@@+] [P@H] [P@@H] [N@] [N@@] "
        r"[N@+] [N@@+] [N@H+] [N@@H+] [Si@] [Si@@] [Si@H] [Si@@H] [B@-] [B@@-] [Se@] [Se@@]"
    ),
    "carbon": (
        r"[C-] [CH-] [CH2-] [CH3-] [C+] [CH+] [CH2+] [C] [CH] [CH2] [CH3] [c-] [cH-] [c+] [cH+] "
        r"[c] [cH]"
    ),
    "nitrogen": (
        r"[nH] [N+] [NH+] [NH2+] [NH3+] [NH4+] [N-] [NH-] [NH2-] [n+] [nH+] [n-] [N] [NH] "
        r"[NH2]"
    ),
    "oxygen and its group": (
        r"[O-] [O+] [OH+] [OH2+] [o+] [oH+] [O] [OH] [OH-] [O-2] [S-] [S+] [SH+] [SH2+] [s+] [sH+] [S] [SH] "
        r"[SH-] [S-2] [Se] [se] [SeH] [Se-] [Se+] [se+] [Te] [te] [TeH]"
    ),
    "phosphorus and its group": (
        r"[P+] [PH+] [PH2+] [PH3+] [P-] [PH] [PH2] [P] [p+] [pH] [As] [as] "
        r"[As+] [AsH] [AsH2] [Sb]"
    ),
    "boron, silicon, germanium, tin": (
        r"[B-] [BH-] [BH2-] [BH3-] [BH4-] [BH] [b-] [bH-] [Si] [SiH] "
        r"[SiH2] [SiH3] [SiH4] [Si-] [Ge] [Sn]"
    ),
    "halogens and hydrogen": (
        r"[H] [H+] [H-] [F-] [F+] [Cl-] [Cl+] [Cl+2] [Cl+3] [Br-] [Br+] [Br+2] "
        r"[I-] [I+] [I+2] [I+3] [IH]"
    ),
    "isotopes": (
        r"[2H] [3H] [11C] [11CH3] [11CH2] [11c] [13C] [13CH] [13CH2] [13CH3] [13C@H] [13C@@H] [13c] [13cH] "
        r"[14C] [14CH] [14CH2] [14CH3] [14c] [14cH] [13N] [13NH3] [15N] [15NH] [15NH2] [15n] [15nH] [15N+] "
        r"[15O] [17O] [18O] [18OH] [18F] [18F-] [32P] [35S] [76Br] [82Br] [123I] [124I] [125I] [131I]"
    ),
    "ions and metals": (
        r"[Li] [Li+] [Na] [Na+] [K] [K+] [Rb+] [Cs+] [Mg] [Mg+] [Mg+2] [Ca] [Ca+2] [Sr+2] [Ba+2] [Al] [Al+3] "
        r"[Zn] [Zn+2] [Fe] [Fe+2] [Fe+3] [Co] [Co+2] [Co+3] [Ni] [Ni+2] [Cu] [Cu+] [Cu+2] [Mn] [Mn+2] [Ag] "
        r"[Ag+] [Au] [Au+] [Pt] [Pt+2] [Pt+4] [Pd] [Pd+2] [Ru] [Ru+2] [Rh] [Ir] [Ti] [Bi] [Bi+3] [Hg] [Hg+2] "
        r"[Gd+3] [Tc]"
    ),
    "attachment points": r"[*] [1*] [2*] [3*] [*:1] [*:2] [*:3]",
}

#: Every known token; the id of a token is its place in this table.
TOKENS: tuple[str, ...] = tuple(token for group in _GROUPS.values() for token in group.split())

#: How many further tokens a model can learn from its training strings.
SPARE_ROWS = 32
