#!/bin/sh
# Makes the files of this folder anew, with other people's tools:
#   ./make.sh PATH-OF-SIGN-FILE
# README.md says what is what. Keys are made for the run and thrown away.
set -eu
sign_file=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# --- keys and certificates -------------------------------------------------

key() { # name, then arguments of genpkey
    name=$1; shift
    openssl genpkey -out "$name.key" "$@" 2>/dev/null
}
# cert NAME ISSUER EXTENSIONS [arguments of x509]; an issuer of itself is a root
cert() {
    name=$1; issuer=$2; extensions=$3; shift 3
    printf '%b' "$extensions" > "$name.ext"
    openssl req -new -key "$name.key" -subj "/O=ukexec tests/CN=$name" -out "$name.csr"
    if [ "$name" = "$issuer" ]; then
        set -- -signkey "$name.key" "$@"
    else
        set -- -CA "$issuer.pem" -CAkey "$issuer.key" "$@"
    fi
    openssl x509 -req -in "$name.csr" -days 36500 -extfile "$name.ext" \
        -set_serial "0x$(openssl rand -hex 8 | sed 's/^./5/')" -out "$name.pem" "$@" 2>/dev/null
    openssl x509 -in "$name.pem" -outform DER -out "$here/certificates/$name.der"
}
CA='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n'
LEAF='basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=codeSigning\nsubjectKeyIdentifier=hash\n'
rsa() { key "$1" -algorithm RSA -pkeyopt rsa_keygen_bits:"$2"; }
ec() { key "$1" -algorithm EC -pkeyopt ec_paramgen_curve:"$2" -pkeyopt ec_param_enc:named_curve; }

rm -rf "$here/certificates" "$here/images" "$here/appended"
mkdir "$here/certificates" "$here/images" "$here/appended"

rsa root 2048; cert root root "$CA" -sha256
rsa intermediate 2048; cert intermediate root "$CA" -sha256
rsa leaf 2048; cert leaf intermediate "$LEAF" -sha256
rsa own 2048; cert own own 'subjectKeyIdentifier=hash\n' -sha256
rsa rsa4096 4096; cert rsa4096 rsa4096 "$LEAF" -sha512
rsa rsa1024 1024; cert rsa1024 rsa1024 "$LEAF" -sha256
rsa rsa8192 8192; cert rsa8192 rsa8192 "$LEAF" -sha256
ec p256 P-256; cert p256 root "$LEAF" -sha256
ec p384 P-384; cert p384 p384 "$LEAF" -sha384
ec p521 P-521; cert p521 p521 "$LEAF" -sha512
# Issuers that must not issue, and certificates with something odd.
rsa short-root 2048; cert short-root short-root 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n' -sha256
rsa too-long 2048; cert too-long short-root "$CA" -sha256
rsa below-too-long 2048; cert below-too-long too-long "$LEAF" -sha256
rsa below-leaf 2048; cert below-leaf leaf "$LEAF" -sha256
rsa no-sign 2048; cert no-sign root 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,cRLSign\n' -sha256
rsa below-no-sign 2048; cert below-no-sign no-sign "$LEAF" -sha256
rsa sha1 2048; cert sha1 root "$LEAF" -sha1
rsa pss 2048; cert pss root "$LEAF" -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
rsa modules 2048; cert modules modules 'keyUsage=digitalSignature\nextendedKeyUsage=1.3.6.1.4.1.2312.16.1.2\n' -sha256
rsa critical 2048; cert critical root "$LEAF"'1.2.3.4.5=critical,DER:0500\n' -sha256
rsa expired 2048
printf '%b' "$LEAF" > expired.ext
openssl req -new -key expired.key -subj "/O=ukexec tests/CN=expired" -out expired.csr
openssl x509 -req -in expired.csr -CA root.pem -CAkey root.key -days -1 -sha256 -extfile expired.ext \
    -set_serial 0x51 -out expired.pem 2>/dev/null
openssl x509 -in expired.pem -outform DER -out "$here/certificates/expired.der"

# --- images ------------------------------------------------------------------

# A PE of two sections and three bytes behind them.
python3 - "$here/images/unsigned.efi" <<'PY'
import struct, sys
image = bytearray(0x603)
def put(at, fmt, *values):
    struct.pack_into("<" + fmt, image, at, *values)
image[0:2] = b"MZ"
put(0x3c, "I", 0x40)
image[0x40:0x44] = b"PE\0\0"
put(0x44, "HHIIIHH", 0x8664, 2, 0, 0, 0, 240, 0x22)
put(0x58, "HBBIIIII", 0x20b, 0, 0, 0x200, 0x200, 0, 0x1000, 0x1000)
put(0x70, "QII", 0, 0x1000, 0x200)
put(0x90, "III", 0x3000, 0x200, 0)
put(0x9c, "H", 10)
put(0xc4, "I", 16)
for index, (name, flags) in enumerate([(b".text", 0x60000020), (b".linux", 0x40000040)]):
    at = 0x148 + 40 * index
    image[at:at + len(name)] = name
    put(at + 8, "IIII", 0x200, 0x1000 * (index + 1), 0x200, 0x200 * (index + 1))
    put(at + 36, "I", flags)
for at in range(0x200, 0x600):
    image[at] = at * 7 & 0xff
image[0x600:] = b"end"
open(sys.argv[1], "wb").write(image)
PY
plain="$here/images/unsigned.efi"
sb() { # name key [addcert] [image]
    sbsign --key "$2.key" --cert "$2.pem" ${3:+--addcert "$3"} --output "$here/images/$1.efi" "${4:-$plain}" 2>/dev/null
}
osslsign() { # name key digest
    osslsigncode sign -certs "$2.pem" -key "$2.key" -h "$3" -in "$plain" -out "$here/images/$1.efi" >/dev/null
}
sb own own
sb chain leaf intermediate.pem
cat intermediate.pem root.pem > whole.pem
sb whole-chain leaf whole.pem
sb no-chain leaf
sb twice own '' "$here/images/chain.efi"
sb p256 p256
osslsign p384-sha384 p384 sha384
osslsign rsa4096-sha512 rsa4096 sha512
osslsign sha1-digest own sha1
sb rsa1024 rsa1024
sb rsa8192 rsa8192
osslsign p521 p521 sha512
cat too-long.pem short-root.pem > whole.pem
sb too-long below-too-long whole.pem
cat leaf.pem intermediate.pem > whole.pem
sb below-leaf below-leaf whole.pem
sb below-no-sign below-no-sign no-sign.pem
sb sha1-certificate sha1
sb pss-certificate pss
sb modules modules
sb critical critical
sb expired expired

# --- appended signatures -----------------------------------------------------

printf 'A file that is no image.\n' > file
sign() { # name, key, digest
    cp file "$here/appended/$1"
    "$sign_file" "$3" "$2.key" "$2.pem" "$here/appended/$1"
}
sign sign-file own sha256
sign sign-file-sha512 rsa4096 sha512
sign sign-file-p384 p384 sha384
sign sign-file-sha1 own sha1
sign sign-file-modules modules sha256
append() { # name, then arguments of cms
    name=$1; shift
    openssl cms -sign -binary -in file -outform DER -out file.p7 "$@"
    {
        cat file file.p7
        python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack(">BBBBB3xI", 0, 0, 2, 0, 0, int(sys.argv[1])))' "$(wc -c < file.p7)"
        printf '~Module signature appended~\n'
    } > "$here/appended/$name"
}
append pss -signer own.pem -inkey own.key -md sha256 -noattr -nocerts -keyopt rsa_padding_mode:pss
append pss-sha384 -signer own.pem -inkey own.key -md sha384 -noattr -nocerts -keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:17
append key-id -signer own.pem -inkey own.key -md sha256 -noattr -nocerts -keyid
append chain -signer leaf.pem -inkey leaf.key -certfile intermediate.pem -md sha256 -noattr
append attributes -signer own.pem -inkey own.key -md sha256 -nocerts
append attached -signer own.pem -inkey own.key -md sha256 -noattr -nocerts -nodetach
append two-signers -signer own.pem -inkey own.key -signer leaf.pem -inkey leaf.key -md sha256 -noattr -nocerts
