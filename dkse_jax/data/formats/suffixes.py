"""Suffixes of picture files, whether they are read or not."""

from dkse_jax.data.formats import FORMATS

# Of formats that FORMATS does not have, and further suffixes of those that it has.
_CAMERAS = ".ari .bay .cap .crw .dcs .eip .gpr .k25 .mdc .mrw .ptx .pxn .raw .rwz .x3f"
_DRAWN = ".cdr .cgm .emf .epsf .svgz .wmf"
_OTHERS = """
    .afphoto .apng .avif .avifs .bigtiff .bpg .btf .cin .clip .czi .dcx .dds .dib .dpx .flif .heics
    .icns .iff .ilbm .j2c .j2k .jfi .jif .jls .jng .jp2 .jpc .jpf .jpg2 .jph .jpm .jps .jpx .kra
    .mng .mpo .mrxs .ndpi .ora .pcd .pct .pcx .pdn .pic .pict .pjp .pjpeg .ptif .ptiff .qoi .ras
    .rgb .rgba .scn .sgi .svs .tf2 .tf8 .tga .vsi .wbmp .webp2 .wp2 .xbm .xpm
"""
PICTURE_SUFFIXES = frozenset(
    {suffix for one in FORMATS for suffix in one.suffixes}.union(
        _CAMERAS.split(), _DRAWN.split(), _OTHERS.split()
    )
)
