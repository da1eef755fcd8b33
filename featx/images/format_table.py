"""The table of formats: which ones featx reads, which ones it knows, and what to do with those.

To add a format, add one line to `FORMATS`. No image library is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

PREFIX_SIZE = 512
"""Number of bytes from the start of a file that tell its format."""

CONVERT = "Convert it to JPEG, PNG or TIFF"

Reading = Literal["always", "named", "extra", "never", "other"]
"""How featx treats files of a format.

``always``: read, and told by content whatever the file is called. ``named``: read if the suffix
promises an image or the user names the file; its first bytes alone are too weak a sign. ``extra``:
read if an optional package is installed. ``never``: an image that featx does not read; it becomes a
failure with a reason. ``other``: no image; the entry serves to say what a file really is.
"""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format of files.

    Attributes
    ----------
    name : str
        Name of the format for a person.
    reading : {"always", "named", "extra", "never", "other"}
        Treatment of the format: see `Reading`.
    suffixes : tuple of str
        Suffixes that promise the format, in lower case.
    magic : bytes
        Regular expression that the first `PREFIX_SIZE` bytes of a file match; empty if the bytes
        do not tell the format.
    plugin : str
        Module and function of Pillow that open the format; empty if Pillow does not.
    remedy : str
        What to do with a file that featx does not read: a sentence in the imperative.
    is_told : bool
        Whether the first bytes alone make a file an image.
    hides_image : bool
        Whether a file with such a suffix must not be decoded even if Pillow could: what Pillow
        finds there is a preview or a stand-in of the image.
    """

    name: str
    reading: Reading
    suffixes: tuple[str, ...] = ()
    magic: bytes = b""
    plugin: str = ""
    remedy: str = ""
    is_told: bool = True
    hides_image: bool = False


def _read(
    name: str, suffixes: str, magic: bytes, plugin: str, *, reading: Reading = "always"
) -> Format:
    return Format(
        name=name,
        reading=reading,
        suffixes=_split(suffixes),
        magic=magic,
        plugin=plugin,
        is_told=reading == "always",
    )


_named = partial(_read, reading="named")


def _never(
    name: str,
    suffixes: str,
    magic: bytes = b"",
    remedy: str = f"{CONVERT}.",
    *,
    is_told: bool = True,
    hides_image: bool = False,
) -> Format:
    return Format(
        name=name,
        reading="never",
        suffixes=_split(suffixes),
        magic=magic,
        remedy=remedy,
        is_told=is_told and bool(magic),
        hides_image=hides_image,
    )


def _other(name: str, magic: bytes, remedy: str = "Leave it out.") -> Format:
    return Format(name=name, reading="other", magic=magic, remedy=remedy, is_told=False)


def _split(suffixes: str) -> tuple[str, ...]:
    return tuple(f".{suffix}" for suffix in suffixes.split())


PLACEHOLDERS = (".icloud", ".nextcloud", ".owncloud")
"""Suffixes that clouds put behind the name of a file that is not on this disk."""

RAW = "Convert it to JPEG or TIFF with a raw converter, or keep the JPEG beside it."
AGAIN = "Download the image again."
SLIDE = "Export the image, or tiles of it, with the program of its maker."
UNPACK = "Unpack it."

FORMATS = (
    # The commonest first. What looks like another format comes before that one.
    _read("PNG", "png apng", rb"\x89PNG\r\n\x1a\n", "PngImagePlugin.PngImageFile"),
    _never("JPEG-LS", "jls", rb"\xff\xd8\xff\xf7"),
    _read(
        "JPEG", "jpg jpeg jpe jfif jfi jif mpo", rb"\xff\xd8\xff", "JpegImagePlugin.jpeg_factory"
    ),
    _never("a raw file of a camera", "", rb"(?:II\*\0|MM\0\*)....CR\x02", RAW),
    _never("PSB, a large Photoshop document", "psb", rb"8BPS\0\x02", "Save it as PNG or TIFF."),
    # The magic of formats that are read by default is that of Pillow, which a test holds.
    _read(
        "AVIF", "avif avifs", rb"....ftyp(?:avif|avis|mif1|msf1)", "AvifImagePlugin.AvifImageFile"
    ),
    _read("BMP", "bmp", rb"BM", "BmpImagePlugin.BmpImageFile"),
    _read("GIF", "gif", rb"GIF8[79]a", "GifImagePlugin.GifImageFile"),
    _read(
        "JPEG 2000",
        "jp2 j2k j2c jpc jpf jpx",
        rb"\xffO\xffQ|\0\0\0\x0cjP  \r\n\x87\n",
        "Jpeg2KImagePlugin.Jpeg2KImageFile",
    ),
    _read("PPM", "ppm pgm pbm pnm pfm", rb"P[0-6fy]", "PpmImagePlugin.PpmImageFile"),
    _read(
        "TIFF",
        "tif tiff svs ndpi lsm qptiff",
        rb"II\*\0|MM\0\*|MM\*\0|II\0\*|MM\0\+|II\+\0",
        "TiffImagePlugin.TiffImageFile",
    ),
    _read("WebP", "webp", rb"RIFF....WEBPVP8[ LX]", "WebPImagePlugin.WebPImageFile"),
    Format(
        name="HEIC",
        reading="extra",
        suffixes=_split("heic heif heics heifs hif"),
        magic=rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
        remedy="Run: pip install pillow-heif (the extra heic installs it). Or convert it to JPEG, "
        "PNG or TIFF.",
    ),
    # Read where the suffix promises an image, or the user names the file.
    _named("DDS", "dds", rb"DDS ", "DdsImagePlugin.DdsImageFile"),
    _named("DCX", "dcx", rb"\xb1h\xde:", "DcxImagePlugin.DcxImageFile"),
    _named("FLI", "fli flc", rb"....[\x11\x12]\xaf.{8}[\0\x03]\0", "FliImagePlugin.FliImageFile"),
    _named("ICNS", "icns", rb"icns", "IcnsImagePlugin.IcnsImageFile"),
    _named("ICO", "ico", rb"\0\0\x01\0(?!\0\0)..", "IcoImagePlugin.IcoImageFile"),
    _named("CUR", "cur", rb"\0\0\x02\0(?!\0\0)..", "CurImagePlugin.CurImageFile"),
    _named("PCX", "pcx", rb"\n[\0\x02\x03\x05]", "PcxImagePlugin.PcxImageFile"),
    _named("PSD", "psd", rb"8BPS\0\x01", "PsdImagePlugin.PsdImageFile"),
    _named("QOI", "qoi", rb"qoif", "QoiImagePlugin.QoiImageFile"),
    _named("SGI", "sgi rgb rgba bw", rb"\x01\xda", "SgiImagePlugin.SgiImageFile"),
    _named("Sun raster", "ras", rb"Y\xa6j\x95", "SunImagePlugin.SunImageFile"),
    _named("XBM", "xbm", rb"\n?#define", "XbmImagePlugin.XbmImageFile"),
    _named("XPM", "xpm", rb"/\* XPM \*/", "XpmImagePlugin.XpmImageFile"),
    _named(
        "DIB",
        "dib",
        rb"(?:\x0c|\x28|\x34|\x38|\x40|\x6c|\x7c)\0\0\0",
        "BmpImagePlugin.DibImageFile",
    ),
    _named(  # no magic: colour map, type, width, height, depth and flags that belong together
        "TGA",
        "tga icb vda",
        rb".[\0\x01][\x01-\x03\x09-\x0b].{9}(?!\0\0)..(?!\0\0)..[\x01\x08\x10\x18\x20]"
        rb"[\0-\x08\x10-\x18\x20-\x28\x30-\x38]",
        "TgaImagePlugin.TgaImageFile",
    ),
    # Images that featx knows and does not read.
    _never(
        "a raw file of a camera",
        "3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq k25 kdc mef mos mrw nef nrw orf pef raf raw "
        "rw2 rwl sr2 srf srw x3f",
        rb"IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|\0MRM|FOVb|II\x1a\0\0\0HEAPCCDR|....ftypcrx ",
        RAW,
        hides_image=True,
    ),
    _never(
        "a thumbnail that a camera keeps beside another file",
        "thm",
        remedy="Leave it out, or rename it to .jpg if you mean it.",
        hides_image=True,
    ),
    _never(
        "a placeholder: the file is in the cloud, not on this disk",
        " ".join(PLACEHOLDERS).replace(".", ""),
        remedy="Download it: open its folder and choose to keep it on this device.",
        hides_image=True,
    ),
    _never("a file of a microscope", "mrxs vsi", remedy=SLIDE, hides_image=True),
    _never(
        "a file of a microscope",
        "czi lif nd2 oib oif zvi ims vms",
        rb"ZISRAWFILE|\xda\xce\xbe\n|p\0\0\0.{4}\*",
        SLIDE,
    ),
    _never("JPEG XL", "jxl", rb"\xff\n|\0\0\0\x0cJXL \r\n\x87\n"),
    _never("JPEG XR", "jxr hdp wdp", rb"II\xbc"),
    _never("BPG", "bpg", rb"BPG\xfb"),
    _never("FLIF", "flif", rb"FLIF"),
    _never(
        "SVG, a drawing without pixels",
        "svg svgz",
        rb"\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]",
        "Export it as PNG in the size that you want.",
    ),
    _never(
        "PostScript",
        "eps epsf epsi",
        rb"%!PS|\xc5\xd0\xd3\xc6",
        "Export it as PNG: featx starts no other programs.",
        is_told=False,
    ),
    _never("a Windows metafile", "wmf emf", rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF"),
    _never(
        "DICOM",
        "dcm dicom ima",
        rb".{128}DICM",
        "Convert it to PNG of 8 or 16 bit with the window of values that you want.",
    ),
    _never(
        "NIfTI, a volume",
        "nii nii.gz",
        rb".{344}n[+i]1\0",
        "Write the slices that you want as PNG.",
    ),
    _never(
        "a medical volume",
        "nrrd nhdr mha mhd mnc",
        rb"NRRD000",
        "Write the slices you want as PNG.",
    ),
    _never("OpenEXR", "exr", rb"v/1\x01", f"{CONVERT} of 8 or 16 bit."),
    _never("Radiance HDR", "", rb"#\?(?:RADIANCE|RGBE)", f"{CONVERT} of 8 or 16 bit."),
    _never("FITS", "fits fit fts", rb"SIMPLE  =", f"{CONVERT} of 8 or 16 bit."),
    _never("DPX or Cineon", "dpx cin", rb"SDPX|XPDS|\x80\x2a\x5f\xd7"),
    _never("XCF, a document of GIMP", "xcf", rb"gimp xcf", "Export it as PNG."),
    _never(
        "a document of a drawing program",
        "ai afphoto cdr clip kra ora pdn procreate sketch",
        remedy="Export it as PNG.",
    ),
    _never("DjVu", "djvu djv", rb"AT&TFORM....DJV[MU]"),
    _never("MNG", "mng", rb"\x8aMNG\r\n\x1a\n"),
    _never("PAM", "pam", rb"P7\n"),
    _never("IFF", "lbm ilbm", rb"FORM....(?:ILBM|PBM )"),
    _never("Photo CD", "pcd"),
    _never("FlashPix", "fpx"),
    _never("JBIG2", "jb2 jbig2", rb"\x97JB2\r\n\x1a\n"),
    _never("a texture", "ktx ktx2 pvr astc vtf blp", rb"\xabKTX |VTF\0|BLP[12]"),
    _never("PICT", "pict pct"),
    _never("a compressed satellite image", "ecw sid", rb"msid"),
    # No images. A file whose suffix promised an image may hold one of them.
    _other("a pointer of Git LFS", rb"version https://git-lfs", "Run: git lfs pull."),
    _other(
        "a pointer of git-annex", rb"[./]*\.git/annex/|/annex/objects/", "Run: git annex get FILE."
    ),
    _other("an HTML page", rb"(?i:\s*(?:<!--.*?-->\s*)*<(?:!DOCTYPE html|html|head|body))", AGAIN),
    _other("an XML document", rb"(?:\xef\xbb\xbf)?\s*<\?xml", AGAIN),
    _other("a JSON document", rb"\s*[{\[]\s*[\"{\[\]}]", AGAIN),
    _other("a data URI", rb"data:image/", "Decode its text to bytes."),
    _other("a PDF document", rb"%PDF-", "Export its pages as PNG."),
    _other("a ZIP archive", rb"PK(?:\x03\x04|\x05\x06)", UNPACK),
    _other("a 7-Zip archive", rb"7z\xbc\xaf'\x1c", UNPACK),
    _other("a RAR archive", rb"Rar!\x1a\x07", UNPACK),
    _other("a tar archive", rb".{257}ustar", "Name it .tar, and pass it as the source."),
    _other(
        "a compressed file", rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd", "Decompress it."
    ),
    _other(
        "an MP4 or QuickTime video",
        rb"....(?:ftyp|moov|mdat|wide|free|skip)",
        "Write the frames that you want as images.",
    ),
    _other(
        "a video",
        rb"RIFF....AVI |\x1aE\xdf\xa3|\0\0\x01[\xba\xb3]|FLV\x01|0&\xb2u",
        "Write the frames that you want as images.",
    ),
    _other("a sound", rb"RIFF....WAVE|ID3|OggS|fLaC"),
    _other("a NumPy array", rb"\x93NUMPY", "Pass the array itself, or save it as PNG."),
    _other("an HDF5 file", rb"\x89HDF\r\n\x1a\n", "Write its images as files."),
    _other("a Parquet file", rb"PAR1", "Pass it as the source, if it is a table of paths."),
    _other("an SQLite database", rb"SQLite format 3"),
    _other("metadata of macOS", rb"\0\x05\x16[\0\x07]"),
    _other("a property list of macOS", rb"bplist0", "Download the image: it may be in the cloud."),
    _other("a shortcut of Windows", rb"L\0\0\0\x01\x14\x02\0", "Copy the file that it points to."),
    _other("a document of Windows", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _other(
        "a file that begins with zeros",
        rb"\0+\Z",
        "Copy the image again: the copy stopped half-way.",
    ),
    _other(
        "text",
        rb"(?:[\t\n\r -~]|[\xc2-\xf4][\x80-\xbf]+)+[\xc2-\xf4]?\Z",
        "Copy the image again, or leave it out.",
    ),
)
"""All formats that featx knows, in the order in which they are tried."""
