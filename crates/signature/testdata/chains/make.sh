#!/bin/sh
# Makes the certificates beside it with Debian's openssl; README.md says what
# each of them is. Keys are thrown away.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for key in root ca other leaf; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/$key.key"
done
serial=100
# cert NAME KEY CN ISSUER ISSUER'S-KEY EXTENSIONS; an issuer of itself is a root.
# Identifiers are left out unless the extensions ask for them.
cert() {
    serial=$((serial + 1))
    {
        case $6 in *subjectKeyIdentifier*) ;; *) echo 'subjectKeyIdentifier=none' ;; esac
        case $6 in *authorityKeyIdentifier*) ;; *) echo 'authorityKeyIdentifier=none' ;; esac
        printf '%b\n' "$6"
    } >"$work/ext"
    openssl req -new -key "$work/$2.key" -subj "/O=ukexec tests/CN=$3" -out "$work/csr"
    if [ "$1" = "$4" ]; then
        set -- "$1" -signkey "$work/$5.key"
    else
        set -- "$1" -CA "$work/$4.pem" -CAkey "$work/$5.key"
    fi
    name=$1
    shift
    openssl x509 -req -in "$work/csr" -days 36500 -extfile "$work/ext" -set_serial $serial \
        -sha256 "$@" -out "$work/$name.pem" 2>/dev/null
    openssl x509 -in "$work/$name.pem" -outform DER -out "$name.der"
}
CA='basicConstraints=critical,CA:TRUE'
ID='subjectKeyIdentifier=hash'

cert root root root root root "$CA\n$ID"
cert ca ca ca root root "$CA\n$ID"
cert leaf leaf leaf ca ca ''

# Who issued what: the same name and key twice, the same name twice.
cert renewed ca ca root root "$CA\n$ID"
cert by-serial leaf leaf ca ca 'authorityKeyIdentifier=issuer:always'
cert by-key leaf leaf ca ca 'authorityKeyIdentifier=keyid:always'
cert namesake other ca root root "$CA\n$ID"
cert namesake-critical other ca root root "$CA\n1.2.3=critical,DER:0500"
cert namesake-malformed other ca root root '2.5.29.19=DER:0500'
cert no-ca ca ca root root "$ID"

# An authority that renewed its own key, below path length 0.
cert root-0 root root root-0 root "$CA,pathlen:0\n$ID"
cert renewed-root ca root root-0 root "$CA\n$ID\nauthorityKeyIdentifier=keyid:always"
cert below-renewed leaf leaf renewed-root ca 'authorityKeyIdentifier=keyid:always'
cert renewed-plain ca root root-0 root "$CA"
cert below-plain leaf leaf renewed-plain ca ''
cert ca-below-0 ca ca root-0 root "$CA"
cert below-ca-0 leaf leaf ca-below-0 ca ''

# Names.
cert ca-permits ca ca root root "$CA\nnameConstraints=permitted;dirName:dn\n[dn]\nO=UKEXEC  tests"
cert ca-permits-other ca ca root root "$CA\nnameConstraints=critical,permitted;dirName:dn\n[dn]\nO=others"
cert ca-excludes ca ca root root "$CA\nnameConstraints=excluded;dirName:dn\n[dn]\nO=ukexec tests\nCN=leaf"
cert root-excludes root root root-excludes root "$CA\n$ID\nnameConstraints=excluded;dirName:dn\n[dn]\nO=ukexec tests\nCN=root"
cert host leaf www.example.org ca ca ''
cert ca-hosts ca ca root root "$CA\nnameConstraints=permitted;DNS:example.com"

# Extensions that may be critical, must not be, and are malformed.
cert ca-policies ca ca root root "$CA\ncertificatePolicies=critical,1.2.3\npolicyConstraints=critical,requireExplicitPolicy:0\ncrlDistributionPoints=critical,URI:http://example.com/list\ninhibitAnyPolicy=critical,0\npolicyMappings=critical,1.2.3:1.2.4\nnsCertType=critical,objCA"
cert critical leaf leaf ca ca 'issuerAltName=critical,DNS:example.com'
cert critical-id leaf leaf ca ca 'subjectKeyIdentifier=critical,hash'
cert no-usage leaf leaf ca ca '2.5.29.15=DER:03020700'
cert malformed leaf leaf ca ca '2.5.29.31=DER:0500'
cert proxy leaf leaf ca ca '1.3.6.1.5.5.7.1.14=DER:300c300a06082b06010505071501'
cert lie leaf leaf ca ca 'basicConstraints=CA:FALSE,pathlen:5'
cert zero leaf leaf ca ca 'basicConstraints=CA:FALSE,pathlen:0'

# Roots without basicConstraints.
cert usage-root ca root-of-usage usage-root ca 'keyUsage=keyCertSign'
cert below-usage leaf leaf usage-root ca ''
cert other-root ca root-of-other other-root ca 'extendedKeyUsage=codeSigning'
cert below-other leaf leaf other-root ca ''
openssl req -new -key "$work/ca.key" -subj '/O=ukexec tests/CN=root 1' -out "$work/csr"
openssl x509 -req -in "$work/csr" -days 36500 -set_serial 99 -signkey "$work/ca.key" \
    -out "$work/version-1.pem" 2>/dev/null
openssl x509 -in "$work/version-1.pem" -outform DER -out version-1.der
cert below-1 leaf leaf version-1 ca ''
