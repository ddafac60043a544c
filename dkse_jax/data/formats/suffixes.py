"""Suffixes of picture files, whether they are read or not."""

from dkse_jax.data.formats import FORMATS

_CAMERAS = """
    .3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .eip .erf .fff .gpr .iiq .k25 .kdc .mdc
    .mef .mos .mrw .nef .nrw .orf .pef .ptx .pxn .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f
"""
_DRAWN = ".ai .cdr .cgm .emf .eps .epsf .ps .svg .svgz .wmf"
_OTHERS = """
    .afphoto .apng .avif .avifs .bigtiff .bpg .btf .cin .clip .cur .czi .dcm .dcx .dds .dib .dicom
    .djv .djvu .dpx .exr .fit .fits .flif .hdp .hdr .heic .heics .heif .hif .icns .ico
    .icon .iff .ilbm .j2c .j2k .jfi .jif .jls .jng .jp2 .jpc .jpf .jpg2 .jph .jpm .jps .jpx .jxl
    .jxr .kra .mng .mpo .mrxs .ndpi .ora .pam .pbm .pcd .pct .pcx .pdf .pdn .pfm .pgm .pic .pict
    .pjp .pjpeg .png8 .pnm .ppm .psb .psd .ptif .ptiff .qoi .ras .rgb .rgba .scn .sgi .svs .tf2 .tf8
    .tga .vsi .wbmp .wdp .webp2 .wp2 .xbm .xcf .xpm
"""
PICTURE_SUFFIXES = frozenset(
    {suffix for one in FORMATS for suffix in one.suffixes}.union(
        _CAMERAS.split(), _DRAWN.split(), _OTHERS.split()
    )
)
