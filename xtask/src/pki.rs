//! Keys, certificates, signatures and lists of them, each by the tool that others make theirs
//! with: `openssl`, `sbsign`, `pesign`, `osslsigncode` and efitools.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Tool;
use crate::stand::Stand;

/// Vendors of UEFI variables.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const IMAGE_SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
/// The configuration for requests of `openssl`. Extensions may refer to the section at its end.
const CONFIG: &str = "[req]\ndistinguished_name=dn\n[dn]\n[owner]\nCN=owner\n";
/// The end of a file with an appended signature, as of Linux's modules.
const APPENDED: &[u8] = b"~Module signature appended~\n";
/// DER of the object identifier of Authenticode's content, `SPC_INDIRECT_DATA`.
const SPC_INDIRECT_DATA: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x04";

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Too weak to sign for anybody, but where firmware takes it.
    Rsa1024,
    Rsa2048,
    Rsa4096,
    P256,
    P384,
    /// A curve that no firmware takes.
    P521,
    /// RSA 2048 whose certificate allows RSASSA-PSS alone.
    RsaPss,
}

impl Kind {
    const fn options(self) -> [&'static str; 4] {
        match self {
            Self::Rsa1024 => ["-newkey", "rsa", "-pkeyopt", "rsa_keygen_bits:1024"],
            Self::Rsa2048 => ["-newkey", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"],
            Self::Rsa4096 => ["-newkey", "rsa", "-pkeyopt", "rsa_keygen_bits:4096"],
            Self::P256 => ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::P384 => ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
            Self::P521 => ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
            Self::RsaPss => ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
        }
    }
}

/// Somebody with a key and a certificate, by the name that is its subject.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    key: PathBuf,
    certificate: PathBuf,
}

impl Signer {
    /// Makes one that vouches for itself.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn new(stand: &Stand, name: &str, kind: Kind) -> Result<Self> {
        Self::make(stand, name, kind, None, &authority(true))
    }

    /// Makes one that `issuer` vouches for, with `extensions` as `openssl` writes them.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn with_extensions(
        stand: &Stand,
        name: &str,
        issuer: Option<&Self>,
        extensions: &[&str],
    ) -> Result<Self> {
        let extensions: Vec<_> = extensions.iter().map(|one| (*one).to_owned()).collect();
        Self::make(stand, name, Kind::Rsa2048, issuer, &extensions)
    }

    /// Makes one that `issuer` vouches for; `is_authority` may vouch for others in turn.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn issued_by(
        stand: &Stand,
        name: &str,
        issuer: &Self,
        is_authority: bool,
    ) -> Result<Self> {
        let extensions = authority(is_authority);
        Self::make(stand, name, Kind::Rsa2048, Some(issuer), &extensions)
    }

    fn make(
        stand: &Stand,
        name: &str,
        kind: Kind,
        issuer: Option<&Self>,
        extensions: &[String],
    ) -> Result<Self> {
        let config = stand.file("openssl.cnf", CONFIG)?;
        let signer = Self {
            key: stand.path(&format!("{name}.key")),
            certificate: stand.path(&format!("{name}.pem")),
        };
        let mut tool = Tool::new("openssl")
            .args(["req", "-x509", "-nodes", "-sha256", "-days", "3650"])
            .args(kind.options())
            .arg("-config")
            .arg(config)
            .arg("-subj")
            .arg(format!("/CN={name}"))
            .arg("-keyout")
            .arg(&signer.key)
            .arg("-out")
            .arg(&signer.certificate);
        for extension in extensions {
            tool = tool.arg("-addext").arg(extension);
        }
        if let Some(issuer) = issuer {
            tool = tool.arg("-CA").arg(&issuer.certificate);
            tool = tool.arg("-CAkey").arg(&issuer.key);
        }
        tool.run()?;
        Ok(signer)
    }

    /// The certificate, in PEM.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Signs `image` with `sbsign`, beside the signatures that it has, and puts the certificates
    /// `along` into the signature.
    ///
    /// # Errors
    ///
    /// `sbsign` fails.
    pub(crate) fn sign(&self, image: &Path, along: &[&Self], out: &Path) -> Result<PathBuf> {
        let mut certificates = Vec::new();
        for signer in along {
            certificates.extend(fs::read(&signer.certificate)?);
        }
        let mut tool = Tool::new("sbsign").arg("--key").arg(&self.key);
        tool = tool.arg("--cert").arg(&self.certificate);
        if !along.is_empty() {
            let bundle = out.with_extension("along");
            fs::write(&bundle, certificates)?;
            tool = tool.arg("--addcert").arg(bundle);
        }
        tool.arg("--output").arg(out).arg(image).run()?;
        Ok(out.to_path_buf())
    }

    /// Signs `image` with `pesign`, out of a database as it keeps keys.
    ///
    /// # Errors
    ///
    /// `openssl`, `pk12util` or `pesign` fails.
    pub(crate) fn sign_by_pesign(&self, stand: &Stand, image: &Path) -> Result<PathBuf> {
        let (bundle, keys) = (stand.path("signer.p12"), stand.path("nss"));
        let out = stand.path("pesign.efi");
        Tool::new("openssl")
            .args(["pkcs12", "-export", "-name", "signer", "-passout", "pass:"])
            .arg("-in")
            .arg(&self.certificate)
            .arg("-inkey")
            .arg(&self.key)
            .arg("-out")
            .arg(&bundle)
            .run()?;
        fs::create_dir(&keys)?;
        // Without a database there, it makes one whose password is empty.
        Tool::new("pk12util")
            .args(["-K", "", "-W", "", "-d"])
            .arg(&keys)
            .arg("-i")
            .arg(bundle)
            .run()?;
        Tool::new("pesign")
            .args(["-s", "-c", "signer", "-n"])
            .arg(keys)
            .arg("-i")
            .arg(image)
            .arg("-o")
            .arg(&out)
            .run()?;
        Ok(out)
    }

    /// Signs `image` with `osslsigncode`, by `digest`.
    ///
    /// # Errors
    ///
    /// `osslsigncode` fails.
    pub(crate) fn sign_by_osslsigncode(
        &self,
        stand: &Stand,
        image: &Path,
        digest: &str,
    ) -> Result<PathBuf> {
        let out = stand.path(&format!("osslsigncode-{digest}.efi"));
        self.osslsigncode(image, digest, &out)?;
        Ok(out)
    }

    /// Signs `image` with `osslsigncode` where the key is elsewhere: what is to be signed is taken
    /// out, signed alone, and attached.
    ///
    /// # Errors
    ///
    /// `osslsigncode` fails.
    pub(crate) fn attach_by_osslsigncode(&self, stand: &Stand, image: &Path) -> Result<PathBuf> {
        let (data, signature) = (stand.path("data.p7"), stand.path("signature.p7"));
        let out = stand.path("attached.efi");
        Tool::new("osslsigncode")
            .args(["extract-data", "-h", "sha256", "-in"])
            .arg(image)
            .arg("-out")
            .arg(&data)
            .run()?;
        self.osslsigncode(&data, "sha256", &signature)?;
        Tool::new("osslsigncode")
            .args(["attach-signature", "-sigin"])
            .arg(signature)
            .arg("-CAfile")
            .arg(&self.certificate)
            .arg("-in")
            .arg(image)
            .arg("-out")
            .arg(&out)
            .run()?;
        Ok(out)
    }

    fn osslsigncode(&self, input: &Path, digest: &str, out: &Path) -> Result<()> {
        Tool::new("osslsigncode")
            .args(["sign", "-h", digest, "-certs"])
            .arg(&self.certificate)
            .arg("-key")
            .arg(&self.key)
            .arg("-in")
            .arg(input)
            .arg("-out")
            .arg(out)
            .run()
    }

    /// Signs the image `signed` as `sbsign` cannot: with `openssl cms`, over the digest that it is
    /// signed by, and in place of that signature.
    ///
    /// CMS wraps the signed content in an OCTET STRING, Authenticode does not. Its digest is over the
    /// content alone in both, so that only the tag has to be put right, and the version, which is
    /// 3 then.
    ///
    /// # Errors
    ///
    /// `openssl` fails, or `signed` is not signed.
    pub(crate) fn sign_as_cms(
        &self,
        stand: &Stand,
        signed: &Path,
        padding: &str,
    ) -> Result<PathBuf> {
        let image = fs::read(signed)?;
        let (_, table) = certificates(&image)?;
        let table = image.get(table..).context("no certificate table")?;
        let content = stand.file("spc", spc_indirect_data(table)?)?;
        let signature = stand.path("cms.p7");
        Tool::new("openssl")
            .args(["cms", "-sign", "-binary", "-nodetach", "-nosmimecap"])
            .args(["-md", "sha256", "-outform", "DER"])
            .args(["-econtent_type", "1.3.6.1.4.1.311.2.1.4"])
            .arg("-signer")
            .arg(&self.certificate)
            .arg("-inkey")
            .arg(&self.key)
            .arg("-keyopt")
            .arg(format!("rsa_padding_mode:{padding}"))
            .arg("-in")
            .arg(content)
            .arg("-out")
            .arg(&signature)
            .run()?;
        let mut der = fs::read(&signature)?;
        let at = content_at(&der)?;
        *der.get_mut(at).context("no content")? = 0x30;
        let version = der.windows(4).position(|window| window == [2, 1, 3, 0x31]);
        *der.get_mut(version.context("no version")? + 2)
            .context("no version")? = 1;
        let out = stand.path("cms.efi");
        fs::write(&out, with_table(image, &der)?)?;
        Ok(out)
    }

    /// Appends a signature to `file` as Linux's `scripts/sign-file` does to modules.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub(crate) fn append(&self, file: &Path, out: &Path) -> Result<PathBuf> {
        let signature = out.with_extension("p7");
        Tool::new("openssl")
            .args(["cms", "-sign", "-binary", "-noattr", "-nocerts"])
            .args(["-md", "sha256", "-outform", "DER"])
            .arg("-signer")
            .arg(&self.certificate)
            .arg("-inkey")
            .arg(&self.key)
            .arg("-in")
            .arg(file)
            .arg("-out")
            .arg(&signature)
            .run()?;
        let signature = fs::read(&signature)?;
        // struct module_signature: only the kind, PKCS#7, and the length are used.
        let mut trailer = vec![0, 0, 2, 0, 0, 0, 0, 0];
        trailer.extend(u32::try_from(signature.len())?.to_be_bytes());
        let bytes = [&fs::read(file)?, &signature, &trailer, APPENDED].concat();
        fs::write(out, bytes)?;
        Ok(out.to_path_buf())
    }

    /// The certificate as an EFI signature list.
    ///
    /// # Errors
    ///
    /// `cert-to-efi-sig-list` fails.
    pub(crate) fn list(&self) -> Result<Vec<u8>> {
        let list = self.certificate.with_extension("esl");
        made_by(
            Tool::new("cert-to-efi-sig-list").arg(&self.certificate),
            &list,
        )
    }

    /// The hash of the certificate's `TBSCertificate` as an EFI signature list.
    ///
    /// # Errors
    ///
    /// `cert-to-efi-hash-list` fails.
    pub(crate) fn tbs_list(&self, bits: &str) -> Result<Vec<u8>> {
        let list = self.certificate.with_extension("tbs.esl");
        let tool = Tool::new("cert-to-efi-hash-list").args(["-s", bits]);
        made_by(tool.arg(&self.certificate), &list)
    }
}

fn authority(is_authority: bool) -> [String; 1] {
    let is_authority = if is_authority { "TRUE" } else { "FALSE" };
    [format!("basicConstraints=critical,CA:{is_authority}")]
}

/// The digest of `image` as an EFI signature list.
///
/// # Errors
///
/// `hash-to-efi-sig-list` fails.
pub(crate) fn image_list(image: &Path) -> Result<Vec<u8>> {
    let list = image.with_extension("esl");
    made_by(Tool::new("hash-to-efi-sig-list").arg(image), &list)
}

fn made_by(tool: Tool, list: &Path) -> Result<Vec<u8>> {
    tool.arg(list).run()?;
    fs::read(list).with_context(|| format!("cannot read {}", list.display()))
}

/// A folder like `/sys/firmware/efi`.
#[derive(Debug)]
pub(crate) struct Efivars {
    dir: PathBuf,
}

impl Efivars {
    /// A machine with Secure Boot on or off, and no keys.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn new(stand: &Stand, name: &str, secure_boot: bool) -> Result<Self> {
        let dir = stand.path(name);
        fs::create_dir_all(dir.join("efivars"))?;
        fs::create_dir_all(dir.join("mok-variables"))?;
        Self { dir }.variable("SecureBoot", GLOBAL, &[u8::from(secure_boot)])
    }

    /// Adds lists that the firmware keeps: `db`, `dbx`.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn firmware(self, name: &str, lists: &[u8]) -> Result<Self> {
        self.variable(name, IMAGE_SECURITY, lists)
    }

    /// Adds a list that shim exports as a variable, such as `MokListRT`.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn shim(self, name: &str, content: &[u8]) -> Result<Self> {
        self.variable(name, SHIM, content)
    }

    /// Adds a list that shim exports as a table.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn table(self, name: &str, content: &[u8]) -> Result<Self> {
        fs::write(self.dir.join("mok-variables").join(name), content)?;
        Ok(self)
    }

    /// Where the folder is.
    pub(crate) fn dir(&self) -> &OsStr {
        self.dir.as_os_str()
    }

    fn variable(self, name: &str, vendor: &str, content: &[u8]) -> Result<Self> {
        // For boot services and for the running system.
        let bytes = [&[6, 0, 0, 0], content].concat();
        fs::write(self.dir.join(format!("efivars/{name}-{vendor}")), bytes)?;
        Ok(self)
    }
}

/// Makes `pkcs7` the only signature of `image`, which has a certificate table.
fn with_table(mut image: Vec<u8>, pkcs7: &[u8]) -> Result<Vec<u8>> {
    let (entry, table) = certificates(&image)?;
    image.truncate(table);
    let len = (8 + pkcs7.len()).next_multiple_of(8);
    let len = u32::try_from(len)?.to_le_bytes();
    image
        .get_mut(entry + 4..entry + 8)
        .context("no PE image")?
        .copy_from_slice(&len);
    // WIN_CERTIFICATE: length, revision 2.0, PKCS#7.
    image.extend([&len[..], &[0, 2, 2, 0], pkcs7].concat());
    image.resize(image.len().next_multiple_of(8), 0);
    Ok(image)
}

/// Where the data directory's entry for the certificate table is, and where it says the table is.
fn certificates(image: &[u8]) -> Result<(usize, usize)> {
    let number = |at: usize| -> Result<usize> {
        let bytes = image.get(at..at + 4).context("no PE image")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
    };
    // Entry 4 of the data directories of PE32+: offset and size.
    let entry = number(0x3c)? + 24 + 112 + 4 * 8;
    Ok((entry, number(entry)?))
}

/// The content of the first `SpcIndirectDataContent` in `bytes`, without its tag and length.
fn spc_indirect_data(bytes: &[u8]) -> Result<Vec<u8>> {
    let at = content_at(bytes)?;
    // Shorter than 128 bytes: the length is one.
    let len = usize::from(*bytes.get(at + 1).context("cut off")?);
    let content = bytes.get(at + 2..at + 2 + len).context("cut off")?;
    Ok(content.to_vec())
}

/// Where the tag of what is signed is: behind its type, and the tag and length around it.
fn content_at(bytes: &[u8]) -> Result<usize> {
    let len = SPC_INDIRECT_DATA.len();
    let at = bytes
        .windows(len)
        .position(|window| window == SPC_INDIRECT_DATA)
        .context("there is no SpcIndirectDataContent")?;
    Ok(at + len + 2)
}
