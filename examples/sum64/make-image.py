"""Makes an image of the sum64 format: python3 make-image.py KERNEL > IMAGE"""

import gzip
import struct
import sys

with open(sys.argv[1], "rb") as file:
    kernel = file.read()
payload = gzip.compress(kernel, 9)

first = second = 0
padded = payload.ljust(-(-len(payload) // 32) * 32, b"\0")
for (word,) in struct.iter_unpack("<Q", padded):
    first = (first + word) % 2**64
    second = (second + first) % 2**64

header = struct.pack("<8sIIQQ", b"SUM64\r\n", len(payload), len(kernel), first, second)
sys.stdout.buffer.write(header + payload)
