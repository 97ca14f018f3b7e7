//! Who signs what: the same keys and the same image in all rounds.

use anyhow::Result;

use super::{Round, Table};
use crate::forge::certificate::{Content, Identity};
use crate::forge::image::{Image, entry};
use crate::forge::key::{Digest, Key};
use crate::forge::list;
use crate::forge::signature::{SignedData, Spc};
use crate::stand::Stand;

/// Keys and identities.
pub(super) struct Crew<'a> {
    pub(super) stand: &'a Stand,
    /// Signs for itself.
    pub(super) owner: Identity,
    /// Nobody trusts it.
    pub(super) stranger: Identity,
    /// A chain: authority, authority, signer.
    pub(super) root: Identity,
    pub(super) middle: Identity,
    pub(super) leaf: Identity,
    /// The image that most are made of.
    pub(super) image: Image,
    digest: Vec<u8>,
}

/// An edit of a signature before it is made.
pub(super) type Edit = fn(&Crew<'_>, &mut SignedData);

impl<'a> Crew<'a> {
    pub(super) fn new(stand: &'a Stand) -> Result<Self> {
        let key = |name| Key::rsa(stand, name, 2048);
        let owner = Identity::signer(stand, &key("owner")?, "owner", None, |_| ())?;
        let stranger = Identity::signer(stand, &key("stranger")?, "stranger", None, |_| ())?;
        let root = Identity::authority(stand, &key("root")?, "root", None, |_| ())?;
        let middle = Identity::authority(stand, &key("middle")?, "middle", Some(&root), |_| ())?;
        let leaf = Identity::signer(stand, &key("leaf")?, "leaf", Some(&middle), |_| ())?;
        let image = Image::uki("1")?;
        let digest = image.digest(stand, Digest::Sha256)?;
        Ok(Self {
            stand,
            owner,
            stranger,
            root,
            middle,
            leaf,
            image,
            digest,
        })
    }

    /// The list of those who are trusted in most rounds: the owner, and the root.
    pub(super) fn db(&self) -> Vec<u8> {
        certificates(&[&self.owner, &self.root])
    }

    /// The signed content for the usual image.
    pub(super) fn spc(&self) -> Spc {
        Spc::new(Digest::Sha256, &self.digest)
    }

    /// The signed content for the usual image, by another digest.
    pub(super) fn spc_by(&self, digest: Digest) -> Result<Spc> {
        Ok(Spc::new(digest, &self.image.digest(self.stand, digest)?))
    }

    /// A signature of the usual image, not made yet.
    pub(super) fn data(&self, signer: &Identity) -> SignedData {
        SignedData::new(&self.spc(), signer, Digest::Sha256)
    }

    /// A signature of the usual image.
    pub(super) fn pkcs7(&self, signer: &Identity) -> Result<Vec<u8>> {
        self.data(signer).der(self.stand)
    }

    /// The usual image with a signature.
    pub(super) fn carrying(&self, pkcs7: &[u8]) -> Result<Image> {
        self.image.with_table(&entry(pkcs7))
    }

    /// The usual image, signed as `data` says.
    pub(super) fn signed(&self, data: &SignedData) -> Result<Image> {
        self.carrying(&data.der(self.stand)?)
    }

    /// The usual image, signed by the owner but for one edit.
    pub(super) fn edited(&self, edit: Edit) -> Result<Image> {
        let mut data = self.data(&self.owner);
        edit(self, &mut data);
        self.signed(&data)
    }

    /// Any other image, signed as tools do.
    pub(super) fn sign(&self, image: &Image, signer: &Identity) -> Result<Image> {
        let image = image.padded();
        let digest = image.digest(self.stand, Digest::Sha256)?;
        let data = SignedData::new(&Spc::new(Digest::Sha256, &digest), signer, Digest::Sha256);
        image.with_table(&entry(&data.der(self.stand)?))
    }

    /// The usual image, signed by `signer`, with these certificates.
    pub(super) fn chained(&self, signer: &Identity, along: &[&Identity]) -> Result<Image> {
        let mut data = self.data(signer);
        data.certificates
            .extend(along.iter().map(|identity| identity.der.clone()));
        self.signed(&data)
    }

    /// An authority with the key of `like`.
    pub(super) fn authority(
        &self,
        like: &Identity,
        subject: &str,
        issuer: Option<&Identity>,
        edit: impl FnOnce(&mut Content),
    ) -> Result<Identity> {
        Identity::authority(self.stand, &like.key, subject, issuer, edit)
    }

    /// A signer with the key of `like`.
    pub(super) fn signer(
        &self,
        like: &Identity,
        subject: &str,
        issuer: Option<&Identity>,
        edit: impl FnOnce(&mut Content),
    ) -> Result<Identity> {
        Identity::signer(self.stand, &like.key, subject, issuer, edit)
    }
}

/// Lists of certificates.
pub(super) fn certificates(identities: &[&Identity]) -> Vec<u8> {
    identities
        .iter()
        .flat_map(|identity| list::certificate(&identity.der))
        .collect()
}

/// Adds the edits of a table to `round`.
pub(super) fn judge_edits(
    crew: &Crew<'_>,
    round: &mut Round,
    edits: Table<'_, Edit>,
) -> Result<()> {
    for (name, expected, edit) in edits {
        round.judge(*name, *expected, crew.edited(*edit)?);
    }
    Ok(())
}
