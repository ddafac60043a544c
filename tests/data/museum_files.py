"""Encodes files that the extra `museum` reads."""

import base64
import io
import struct

import numpy as np
import tifffile
from PIL import Image
from psd_tools.psd.header import FileHeader
from psd_tools.psd.image_data import ImageData

# By pillow-heif 1.8.1, which brings an encoder under the GPL: two pictures, of which the second is
# the primary one; and one with an orientation of 6, a profile and a camera.
HEIC_TWO = base64.b64decode("""
AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAAAa1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA
AAAAADRpbG9jAAAAAERAAAIAAQAAAAAB0QABAAAAAAAAArsAAgAAAAAEjAABAAAAAAAAAsMAAAA4aWluZgAAAAAAAgAAABVp
bmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAAACAABodmMxAAAAAA5waXRtAAAAAAACAAABBmlwcnAAAADeaXBjbwAAAHdo
dmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAA
AwAAHpAFECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMBiQAAAAE2NvbHJuY2x4AAEADQAGgAAAABRpc3BlAAAA
AAAAAFAAAABAAAAAKGNsYXAAAABQAAAAAQAAADAAAAABAAAAAAAAAAL////wAAAAAgAAABBwaXhpAAAAAAMICAgAAAAgaXBt
YQAAAAAAAAACAAEFgQIDBYQAAgWBAgMFhAAABYZtZGF0AAACtygBrwY0JquukNcmqgSZaoCkCklPuvAEPBNqrVGPaCQ5l05G
7jGc/OKi2CKjQlpDJdoUC9Yj9fwUr3dXv6NaTT08jpBC0hwP9vsmtuRZdQbBsjhSckZP700cqIueVHNjrW5L64tSS3rzTpAP
ZQbuTogthUvtMYKcv0rGUVc7EXQs7MT7GasJ1P7pLfvBMxAQUe3Or0Wx6nsj/ovVZCmvguSm90BXcq1ooYObSHEo3I4DvcBI
X/JytJrEiGdEmjrbBRNHgXpXqmX2RPPHPsCzkMSjHQa4RMQJMQ41CKE6oCEOSUMZFbNz4jQDIUG98rO3XmFV7nxDrfSOe3rL
15oj3sFW0tzOPaLig98PNJRKtphjifQTujzNETjQQhhQPhZw0uvKaZIpUgqT+2brUSV6FRpBv9y0n3yOlQU/nsHcvvYcx4Zb
lvLKhwHL/IU632wk/A799vY1I3NeBjn7Bbrjel/hJqb96fmYA88auZmc32Dv/Z0gqlksVlMks5dptZvD4yQVkcJyzlAJeiz5
yHjb1ukYipaf2SmL20kxXucf2aMTPK5QQ7Bs/fGfPrM6ZqlXeQXm2J5ef3tlWGS1A+L71vzJbXaArFFYrUD0Xd2rvHhMrZqJ
RpB1TbtI3Sf9tPmx8U0ZHhA6Y6YL3e2c0sL5Ko2ycL9FVOxq7Rj3tjfPcfufodZlyf28i/Bo1R6iPwfg5Rl4lNPfj58MzeM/
t52BltQJZljYOn3139eI5NWf2f9wID7wNk4uWcBsFnJjGey6+OEccXPq/Az6T1tqk8sWRDDQ7EdqjHxtscjsevKIgG9ZqMDM
fVb5LLsfWnCIUhiN8otV1ioSaR1Xe2aOHFV/A9oYXS/g7eIjcWsPDXAOiwhWKvc9vZf7+f7jYrlnA3aPRrR1HcRz6lt4WRS9
2v+lpQUvhOrBqsxwAAACvygBrwY0JrGuMdcmiiBQJl/a9zunjrFMw4fRC9O9hlekiTYfn/zhwcvmBghwHiUKZKm8myYC/1SK
9016GT3BJw7FSCWQgwefnkegsASZqro9GNwBuy/eUldcRiuylz44x2B+DNSPICN/ceRhaQXlwJ1Gpi6KiXfB+zSPXD0IeMQS
5CSYV9Yqxc4kOg7v/yCXX70PbzX3G6iGafKdeueBqpyjV9MQBDD7TeoOBIEvyElpKrWMhh4eu15WWpa8bCEoQgEOGl2mSYx8
MTAxl0B1JodJ1R5OM0BSfsD5N1Gxov8+ZVwT8jq6cnbh4UfGIlL0JAvv5dH+wS/0m0fTBAuLdW9BLMEAVYyqZx/i2jmX9PpN
Y3ZfwrhkRlm5yCszYjQGXSB3efS6zQKmzpAPyi3vtEiGDfdeO2uCvFDps5Ur5HPw/F/+lPHA38LKvcI4BthnyqjeLEO+s7hU
C/eczPJBXPah7lBX2Ae4j5KaSJmPsqh8fM/HxvhJPGkDuChkM4LUholdZ9g9sWhwBchP9KwUDgdQeR2bYAlEDBQFEkdlt5LP
3+ovoepUM8r9ddllbFUX/5DUTjCaIxddPYAwEGIZ8rEVIvYYbZgMtQssdG2qf/BuqShkr8zi0hx0lW/mFDRDnFwfK9xVzLqZ
aSXb0ov/mdV+7dfIWvxj9QEnbUDcOMC1JSbP2FqJRhIbVYgcFtT2UoPKdFsfwrBKJ0HOs8q3FMsSKEym7Mnr+A6qySfQoj+Z
WRwCoELkLJH6mAwHQVfnzSuDLSNJ7CF9h0cCHNI+rkt9M7yPGHa4ZJuS2zerB3Bz7itKGLnrxHLEG5DZm/OdR6W19B3u4Twr
ni0sTT2f4WWzcmK3j5IeQI9dOVmGZxph9dfYowOJm7ZuHmczrxNX7Rj/NfV2uoKUbR13KzFBf3pHJoWcllcVR2fBmU9Y3f8=
""")
HEIC_TURNED = base64.b64decode("""
AAAAHGZ0eXBoZWl4AAAAAG1pZjFoZWl4bWlhZgAABA5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAA
AAAAADRpbG9jAAAAAERAAAIAAQAAAAAEMgABAAAAAAAAAsMAAgAAAAAG9QABAAAAAAAAAEIAAAA4aWluZgAAAAAAAgAAABVp
bmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAADTWlwcnAAAAMsaXBjbwAAAHdo
dmNDAQQIAAAAnjgAAAAAHvAA/P/4+AAADwNgAAEAF0ABDAH//wQIAAADAJ44AAADAAAeugJAYQABACpCAQEECAAAAwCeOAAA
AwAAHpAFECCy3VyU1zcBDQYEAAADAGQAAAMABCBiAAEACEQBwXMYMBiQAAACWGNvbHJwcm9mAAACTGxjbXMEQAAAbW50clJH
QiBYWVogB+oACwAcAAsAGgATYWNzcEFQUEwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPbWAAEAAAAA0y1sY21zAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAALZGVzYwAAAQgAAAA2Y3BydAAAAUAAAABMd3RwdAAA
AYwAAAAUY2hhZAAAAaAAAAAsclhZWgAAAcwAAAAUYlhZWgAAAeAAAAAUZ1hZWgAAAfQAAAAUclRSQwAAAggAAAAgZ1RSQwAA
AggAAAAgYlRSQwAAAggAAAAgY2hybQAAAigAAAAkbWx1YwAAAAAAAAABAAAADGVuVVMAAAAaAAAAHABzAFIARwBCACAAYgB1
AGkAbAB0AC0AaQBuAABtbHVjAAAAAAAAAAEAAAAMZW5VUwAAADAAAAAcAE4AbwAgAGMAbwBwAHkAcgBpAGcAaAB0ACwAIAB1
AHMAZQAgAGYAcgBlAGUAbAB5WFlaIAAAAAAAAPbWAAEAAAAA0y1zZjMyAAAAAAABDEIAAAXe///zJQAAB5MAAP2Q///7of//
/aIAAAPcAADAblhZWiAAAAAAAABvoAAAOPUAAAOQWFlaIAAAAAAAACSfAAAPhAAAtsNYWVogAAAAAAAAYpcAALeHAAAY2XBh
cmEAAAAAAAMAAAACZmYAAPKnAAANWQAAE9AAAApbY2hybQAAAAAAAwAAAACj1wAAVHsAAEzNAACZmgAAJmYAAA9cAAAAFGlz
cGUAAAAAAAAAUAAAAEAAAAAoY2xhcAAAAFAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAA
AAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAw1tZGF0AAACvygB
rwY0JrGuMdcmiiBQJl/a9zunjrFMw4fRC9O9hlekiTYfn/zhwcvmBghwHiUKZKm8myYC/1SK9016GT3BJw7FSCWQgwefnkeg
sASZqro9GNwBuy/eUldcRiuylz44x2B+DNSPICN/ceRhaQXlwJ1Gpi6KiXfB+zSPXD0IeMQS5CSYV9Yqxc4kOg7v/yCXX70P
bzX3G6iGafKdeueBqpyjV9MQBDD7TeoOBIEvyElpKrWMhh4eu15WWpa8bCEoQgEOGl2mSYx8MTAxl0B1JodJ1R5OM0BSfsD5
N1Gxov8+ZVwT8jq6cnbh4UfGIlL0JAvv5dH+wS/0m0fTBAuLdW9BLMEAVYyqZx/i2jmX9PpNY3ZfwrhkRlm5yCszYjQGXSB3
efS6zQKmzpAPyi3vtEiGDfdeO2uCvFDps5Ur5HPw/F/+lPHA38LKvcI4BthnyqjeLEO+s7hUC/eczPJBXPah7lBX2Ae4j5Ka
SJmPsqh8fM/HxvhJPGkDuChkM4LUholdZ9g9sWhwBchP9KwUDgdQeR2bYAlEDBQFEkdlt5LP3+ovoepUM8r9ddllbFUX/5DU
TjCaIxddPYAwEGIZ8rEVIvYYbZgMtQssdG2qf/BuqShkr8zi0hx0lW/mFDRDnFwfK9xVzLqZaSXb0ov/mdV+7dfIWvxj9QEn
bUDcOMC1JSbP2FqJRhIbVYgcFtT2UoPKdFsfwrBKJ0HOs8q3FMsSKEym7Mnr+A6qySfQoj+ZWRwCoELkLJH6mAwHQVfnzSuD
LSNJ7CF9h0cCHNI+rkt9M7yPGHa4ZJuS2zerB3Bz7itKGLnrxHLEG5DZm/OdR6W19B3u4Twrni0sTT2f4WWzcmK3j5IeQI9d
OVmGZxph9dfYowOJm7ZuHmczrxNX7Rj/NfV2uoKUbR13KzFBf3pHJoWcllcVR2fBmU9Y3f8AAAAGRXhpZgAATU0AKgAAAAgA
AwEPAAIAAAAGAAAAMgEQAAIAAAADTTEAAAESAAMAAAABAAYAAAAAAABNYWtlcgA=
""")


def pdf_of(*pictures, **options):
    buffer = io.BytesIO()
    first, *others = map(Image.fromarray, pictures)
    first.save(buffer, "PDF", save_all=True, append_images=others, quality=95, **options)
    return buffer.getvalue()


def drawn_pdf(box="0 0 360 180", rotate=0):
    """A page without a picture: its left half is red."""
    drawing = b"1 0 0 rg 0 0 180 180 re f"
    page = f"<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Rotate {rotate}/Contents 4 0 R>>"
    parts = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>"]
    parts += [page.encode(), b"<</Length %d>>stream\n%b\nendstream" % (len(drawing), drawing)]
    objects = b"".join(b"%d 0 obj%b endobj\n" % (i, part) for i, part in enumerate(parts, 1))
    return b"%PDF-1.4\n" + objects + b"trailer<</Root 1 0 R/Size 5>>\n%%EOF"


def psd(planes, mode=3, version=1, compression=0, resources=b""):
    """Encodes planes (C, H, W), uint8 or uint16, without layers."""
    channels, height, width = planes.shape
    header = FileHeader(
        version=version,
        channels=channels,
        height=height,
        width=width,
        depth=8 * planes.itemsize,
        color_mode=mode,
    )
    image = ImageData(compression=compression)
    image.set_data(
        [plane.astype(plane.dtype.newbyteorder(">")).tobytes() for plane in planes], header
    )
    buffer = io.BytesIO()
    header.write(buffer)
    buffer.write(struct.pack(">II", 0, len(resources)) + resources + bytes(4 * version))
    image.write(buffer)
    return buffer.getvalue()


def planes_of(pixels, bits):
    planes = np.moveaxis(pixels, -1, 0)
    return planes.astype(np.uint16) * 257 if bits == 16 else planes


def resource(number, data):
    return struct.pack(">4sHHI", b"8BIM", number, 0, len(data)) + data + bytes(len(data) % 2)


def rationals(values):
    return [part for value in np.ravel(values) for part in (round(value * 10_000), 10_000)]


def dng(pixels, pattern=b"\0\1\1\2", orientation=1, byteorder="<", **white):
    """Encodes the mosaic of a camera whose colours are linear sRGB."""
    stored = pixels / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    height, width, _ = linear.shape
    colour = np.tile(np.reshape(list(pattern), (2, 2)), (height // 2, width // 2))[..., None]
    mosaic = np.take_along_axis(linear, colour, -1)[..., 0]
    xyz = [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    tags = [
        (271, 2, None, "Maker", True),
        (272, 2, None, "M1", True),
        (274, 3, 1, orientation, True),
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, pattern, True),
        (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, None, "Maker M1", True),
        (50717, 4, 1, 65535, True),
        (50721, 10, 9, rationals(np.linalg.inv(xyz)), True),
        (50728, 5, 3, rationals(white.get("neutral", np.ones(3))), True),
        (50778, 3, 1, 21, True),
    ]
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, byteorder=byteorder) as writer:
        writer.write(np.round(mosaic * 65535).astype(np.uint16), photometric=32803, extratags=tags)
    return buffer.getvalue()


def tiff(pixels, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"photometric": "rgb", **options})
    return buffer.getvalue()
