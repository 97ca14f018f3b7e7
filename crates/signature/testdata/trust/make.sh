#!/bin/sh
# Makes the files beside it with Debian's openssl and efitools; README.md says
# what each of them is.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
owner=77fa9abd-0359-4d32-bd60-28f4e78f784b

for name in one two; do
    openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=ukexec test $name/" -days 36500 -set_serial 1 \
        -keyout "$work/$name.key" -out "$work/$name.pem"
    openssl x509 -in "$work/$name.pem" -outform DER -out "$name.der"
    cert-to-efi-sig-list -g $owner "$work/$name.pem" "$work/$name.esl"
    for bits in 256 384 512; do
        cert-to-efi-hash-list -g $owner -s $bits "$work/$name.pem" "$work/$name-$bits.esl"
    done
done
cat "$work/one.esl" "$work/two.esl" >certificates.esl
cat "$work/one-256.esl" "$work/one-384.esl" >tbs-hashes.esl
cp "$work/one-512.esl" tbs-sha512.esl
cert-to-efi-hash-list -g $owner -s 256 -t '2020-02-03 04:05:06' "$work/two.pem" tbs-timed.esl

# As people keep them: text around certificates, and something else between.
{
    openssl x509 -in "$work/one.pem" -text
    openssl pkey -in "$work/two.key" -pubout
    cat "$work/two.pem"
} >certificates.pem

hash-to-efi-sig-list uki.efi image-hash.esl

openssl req -new -x509 -newkey rsa:2048 -nodes -subj "/CN=ukexec test update/" -days 36500 \
    -keyout "$work/update.key" -out "$work/update.pem"
sign-efi-sig-list -t '2020-02-03 04:05:06' -g $owner -k "$work/update.key" \
    -c "$work/update.pem" db "$work/one.esl" update.auth

# What firmware reads, and strict readers do not: a serial number of 40 bytes,
# and a comment that makes a certificate longer than 16 KiB.
odd() { # name, serial number, then arguments of req
    name=$1; serial=$2; shift 2
    openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=ukexec test $name/" -days 36500 -set_serial "$serial" \
        -keyout "$work/$name.key" -outform DER -out "$name.der" "$@"
}
odd long-serial "0x51$(openssl rand -hex 39)"
odd large 1 -addext "nsComment=$(head -c 17000 /dev/zero | tr '\0' x)"

# Other forms of the same certificates.
for name in one two; do openssl x509 -inform DER -in $name.der -out "$work/$name.pem"; done
openssl x509 -in "$work/one.pem" -addtrust codeSigning -setalias one -out trusted.pem
openssl crl2pkcs7 -nocrl -certfile "$work/one.pem" -certfile "$work/two.pem" -out bundle.pem
openssl pkcs7 -in bundle.pem -outform DER -out bundle.p7b
openssl cms -sign -binary -in one.der -signer "$work/update.pem" -inkey "$work/update.key" \
    -outform DER -out signature.p7s
# What else lies in folders of keys.
openssl pkcs8 -topk8 -nocrypt -in "$work/one.key" -outform DER -out key.der
openssl req -new -key "$work/one.key" -subj "/CN=ukexec test request/" -outform DER -out request.der
openssl pkcs12 -export -in "$work/one.pem" -inkey "$work/one.key" -passout pass: -out key.p12

chmod 644 -- *.esl *.der *.pem *.p7b *.p7s *.p12 update.auth
