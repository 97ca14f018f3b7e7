#!/bin/sh
# Makes every file of this folder again. See README.md.
set -eu
cd "$(dirname "$0")"

# data.raw: 1 KiB of noise, text, and "machine code": filler bytes with an
# x86 call, an arm64 bl, an arm bl and a thumb bl to the same target each.
python3 - <<'PYTHON'
import struct
state = 1
def noise(count):
    global state
    out = bytearray()
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7fffffff
        out.append(state >> 16 & 0xff)
    return bytes(out)
out = bytearray(noise(1024))
for line in range(60):
    out += b"line %d of a text that compresses well enough\n" % line
out += bytes(-len(out) % 16)
target = 0x4000
while len(out) < 8192:
    here = len(out)
    out += struct.pack("<I", 0x94000000 | (target - here) >> 2 & 0x3ffffff)  # arm64 bl
    out += struct.pack("<I", 0xeb000000 | (target - here - 12) >> 2 & 0xffffff)  # arm bl
    off = target - (here + 8) - 4
    out += struct.pack("<HH", 0xf000 | off >> 12 & 0x7ff, 0xf800 | off >> 1 & 0x7ff)  # thumb bl
    out += b"\xe8" + struct.pack("<i", target - (here + 12) - 5)  # x86 call
    out += b"\x90\x90\x90" + struct.pack(">I", 0x48000001 | target - (here + 20) & 0x3fffffc)  # powerpc bl
    out += noise(2) + bytes(-(here + 26) % 4)
    out += bytes(-len(out) % 4)
open("data.raw", "wb").write(out)
open("tiny.raw", "wb").write(out[900:1200] + out[5000:5200])
open("noise.raw", "wb").write(noise(300))
PYTHON

for name in data tiny; do
    gzip -9n <$name.raw >$name.gz
    bzip2 -9 <$name.raw >$name.bz2
    xz --format=lzma -9 <$name.raw >$name.lzma
    xz --check=crc32 --lzma2=dict=128MiB <$name.raw >$name.xz
    lzop -9 -c <$name.raw >$name.lzo
    lz4 -l -9 -q -c <$name.raw >$name.lz4
    # From a pipe the size is not known: no content size, a 128 MiB window.
    cat $name.raw | zstd -q -22 --ultra >$name.zst
done
for tool in "gz gzip -9n" "bz2 bzip2 -9" "lzma xz --format=lzma" "xz xz --check=crc32" \
    "lzo lzop -9 -c" "lz4 lz4 -l -q -c" "zst zstd -q -22 --ultra"; do
    set -- $tool
    suffix=$1
    shift
    "$@" </dev/null >"empty.$suffix"
done

# gzip with a name; zstd with a content size, in one segment.
gzip -9 -c data.raw >name.gz
zstd -q -19 -c data.raw >sized.zst
# The filters of the kernel's scripts/xz_wrap.sh, and the checks.
for bcj in x86 arm64 arm armthumb powerpc ia64 sparc; do
    xz --check=crc32 --$bcj --lzma2=dict=128MiB <data.raw >$bcj.xz
done
for check in none crc64 sha256; do
    xz --check=$check <tiny.raw >$check.xz
done
xz --check=crc32 --delta=dist=4 --lzma2 <data.raw >delta.xz
xz --check=crc32 --x86 --lzma2 --block-size=2048 -T2 <data.raw >blocks.xz
# lzop: three blocks; one stored block; the other checksums, and none.
yes "the same line, time and again" | head -n 20000 | lzop -9 -c >lines.lzo
lzop -9 -c <noise.raw >noise.lzo
lzop -CC -c <tiny.raw >adler-both.lzo
lzop --crc32 -CC -c <tiny.raw >crc-both.lzo
lzop -F -c <tiny.raw >unchecked.lzo
lzop --filter=1 -c <tiny.raw >filter.lzo
