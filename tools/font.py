"""Make ``rnnbook/fonts/RnnbookHei.otf`` again, the font that shows Chinese in figures.

``python tools/font.py NotoSansCJK-Regular.ttc`` takes the collection of the Debian package
fonts-noto-cjk (Noto Sans CJK 2.004, SIL Open Font License 1.1) and keeps of its Simplified Chinese
face: ASCII, the punctuation and full-width forms of GB 2312, its 3,755 common characters (level 1),
and others that are frequent in Chinese reviews. The same file and the same fontTools give the same
bytes. The new name keeps clear of the names that belong to the makers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

TARGET = Path(__file__).resolve().parents[1] / "rnnbook" / "fonts" / "RnnbookHei.otf"
FAMILY, POSTSCRIPT = "Rnnbook Hei", "RnnbookHei"
FACE = "NotoSansCJKsc-Regular"
# Outside level 1, and at least ten times in two public sets of reviews of shops and hotels.
EXTRA = (
    "伽佘侃來個們僮價兮務叨咔咚咪咫員問啬啰喽嗦嗯嘈嘟噜噩噼國圳娓娴媲宕實寰對尬尴崽幾後忒怡惬愣態憩應"
    "懵攴於時書會桦榻樓標樣機歡汶沐沒浏浒湮溧漉潢炫為煙煲熨珑瑕瑜瑾當瘾睿碜祠笙筝給經耋聆肴莞薇螂蟑覺"
    "設話該說诠谛跤較轱辘這過還錯開間電靓題饪馨魅鹭麼麽點"
)


def characters() -> set[str]:
    """Return what the font is to show; rows 1 and 3 of GB 2312 hold signs, 16 to 55 its level 1."""
    rows = [0xA1, 0xA3, *range(0xB0, 0xD8)]
    codes = [bytes([row, cell]) for row in rows for cell in range(0xA1, 0xFF)]
    ascii_signs = {chr(code) for code in range(0x20, 0x7F)}
    return ascii_signs | set(EXTRA) | {code.decode("gb2312", "ignore") for code in codes} - {""}


def rename(font: TTFont) -> None:
    """Give the font its own name, and keep the copyright and the licence of the source."""
    names = font["name"]
    names.names = [record for record in names.names if record.nameID in (0, 13, 14) and record.langID == 1033]
    for number, text in {
        1: FAMILY,
        2: "Regular",
        3: f"2.004;{POSTSCRIPT}",
        4: FAMILY,
        5: "Version 2.004; subset",
        6: POSTSCRIPT,
        10: "A subset of Noto Sans CJK SC Regular 2.004, made for the figures of a book.",
    }.items():
        names.setName(text, number, 3, 1, 1033)
    outlines = font["CFF "].cff
    outlines.fontNames = [POSTSCRIPT]
    outlines[0].FullName = outlines[0].FamilyName = FAMILY


def main() -> None:
    """Write the font; expect the path of the collection as the only argument."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    options = subset.Options(hinting=False, desubroutinize=True, layout_features=[], notdef_outline=True)
    options.name_IDs, options.name_languages = ["*"], ["*"]
    options.drop_tables += ["BASE", "GDEF", "GPOS", "GSUB", "VORG", "vhea", "vmtx"]
    faces = [TTFont(sys.argv[1], fontNumber=number, lazy=True)["name"].getDebugName(6) for number in range(5)]
    font = TTFont(sys.argv[1], fontNumber=faces.index(FACE), recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    wanted = characters()
    subsetter.populate(text="".join(wanted))
    subsetter.subset(font)
    if missing := wanted - {chr(code) for code in font.getBestCmap()}:
        sys.exit(f"{sys.argv[1]} lacks {''.join(sorted(missing))}: expected {FACE} 2.004")
    rename(font)
    TARGET.parent.mkdir(exist_ok=True)
    font.save(TARGET)
    print(f"{TARGET.name}: {len(wanted):,} characters, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
