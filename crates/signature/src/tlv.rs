//! Walking DER, one element after the other, without copying.
//!
//! The bytes under a signature have to be hashed as they are, and sets must
//! not be sorted on the way: so this module hands elements out as they are.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};

use crate::SignatureError;
use crate::error::{not_der, unexpected};

/// Elements that stand in a row: the content of a SEQUENCE or SET.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a> {
    field: &'static str,
    reader: SliceReader<'a>,
}

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    field: &'static str,
    /// With tag and length.
    pub(crate) raw: &'a [u8],
    any: AnyRef<'a>,
}

impl<'a> Elements<'a> {
    /// Reads what stands in `content`; `field` is its name in messages.
    pub(crate) fn new(field: &'static str, content: &'a [u8]) -> Result<Self, SignatureError> {
        let reader = SliceReader::new(content).map_err(|cause| not_der(field, "DER", &cause))?;
        Ok(Self { field, reader })
    }

    /// Returns the next element, or `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Element<'a>>, SignatureError> {
        if self.reader.is_finished() {
            return Ok(None);
        }
        let refuse = |cause| not_der(self.field, "a DER element", &cause);
        let raw = self.reader.tlv_bytes().map_err(refuse)?;
        let any = AnyRef::from_der(raw).map_err(refuse)?;
        Ok(Some(Element {
            field: self.field,
            raw,
            any,
        }))
    }

    /// Returns the next element, which must be there.
    pub(crate) fn required(
        &mut self,
        expected: &'static str,
    ) -> Result<Element<'a>, SignatureError> {
        let field = self.field;
        let next = self.next()?;
        next.ok_or_else(|| unexpected(field, expected, "nothing more"))
    }

    /// Returns the next element if it has context-specific tag `number` and
    /// elements in it.
    pub(crate) fn context(&mut self, number: u32) -> Result<Option<Element<'a>>, SignatureError> {
        self.tagged(number, true)
    }

    /// Returns the next element if it has context-specific tag `number`;
    /// `constructed` says whether elements stand in it or plain bytes.
    pub(crate) fn tagged(
        &mut self,
        number: u32,
        constructed: bool,
    ) -> Result<Option<Element<'a>>, SignatureError> {
        let mut ahead = self.clone();
        let element = ahead
            .next()?
            .filter(|element| element.is_context(number, constructed));
        if element.is_some() {
            *self = ahead;
        }
        Ok(element)
    }

    /// Checks that the rest is made of whole elements.
    pub(crate) fn check_rest(mut self) -> Result<(), SignatureError> {
        while self.next()?.is_some() {}
        Ok(())
    }

    /// Checks that nothing is left.
    pub(crate) fn finish(mut self) -> Result<(), SignatureError> {
        let field = self.field;
        match self.next()? {
            None => Ok(()),
            Some(element) => Err(unexpected(field, "nothing more", element.any.tag())),
        }
    }
}

impl<'a> Element<'a> {
    /// Reads the one element that `der` is.
    pub(crate) fn only(field: &'static str, der: &'a [u8]) -> Result<Self, SignatureError> {
        let mut elements = Elements::new(field, der)?;
        let element = elements.required("a DER element")?;
        elements.finish()?;
        Ok(element)
    }

    /// Reads the element that `der` starts with; anything may follow it.
    pub(crate) fn first(field: &'static str, der: &'a [u8]) -> Result<Self, SignatureError> {
        Elements::new(field, der)?.required("a DER element")
    }

    /// Reads the element that `der` starts with; returns it and what follows it.
    pub(crate) fn split_first(
        field: &'static str,
        der: &'a [u8],
    ) -> Result<(Self, &'a [u8]), SignatureError> {
        let mut elements = Elements::new(field, der)?;
        let first = elements.required("a DER element")?;
        let mut reader = elements.reader;
        let behind = reader.read_slice(reader.remaining_len());
        let behind = behind.map_err(|cause| not_der(field, "DER", &cause))?;
        Ok((first, behind))
    }

    /// Returns the content, without tag and length.
    pub(crate) fn content(&self) -> &'a [u8] {
        self.any.value()
    }

    pub(crate) fn has(&self, tag: Tag) -> bool {
        self.any.tag() == tag
    }

    /// Returns whether this has context-specific tag `number`; `constructed`
    /// says whether elements stand in it or plain bytes.
    pub(crate) fn is_context(&self, number: u32, constructed: bool) -> bool {
        self.has(Tag::ContextSpecific {
            constructed,
            number: TagNumber(number),
        })
    }

    /// Returns the content of an element that must have `tag`.
    pub(crate) fn tagged(
        &self,
        tag: Tag,
        expected: &'static str,
    ) -> Result<&'a [u8], SignatureError> {
        if !self.has(tag) {
            return Err(unexpected(self.field, expected, self.any.tag()));
        }
        Ok(self.content())
    }

    /// Goes into a SEQUENCE; `field` is its name in messages.
    pub(crate) fn sequence(&self, field: &'static str) -> Result<Elements<'a>, SignatureError> {
        Elements::new(field, self.tagged(Tag::Sequence, field)?)
    }

    /// Goes into a SET.
    pub(crate) fn set(&self, field: &'static str) -> Result<Elements<'a>, SignatureError> {
        Elements::new(field, self.tagged(Tag::Set, field)?)
    }

    /// Goes into an element of any tag, for those that stand for another.
    pub(crate) fn inside(&self, field: &'static str) -> Result<Elements<'a>, SignatureError> {
        Elements::new(field, self.content())
    }

    pub(crate) fn octets(&self, expected: &'static str) -> Result<&'a [u8], SignatureError> {
        self.tagged(Tag::OctetString, expected)
    }

    pub(crate) fn oid(&self, expected: &'static str) -> Result<ObjectIdentifier, SignatureError> {
        let refuse = |cause| not_der(self.field, expected, &cause);
        self.any.decode_as::<ObjectIdentifier>().map_err(refuse)
    }

    /// Returns a number that is small and not negative.
    pub(crate) fn number(&self, expected: &'static str) -> Result<u32, SignatureError> {
        let refuse = |cause| not_der(self.field, expected, &cause);
        self.any.decode_as::<u32>().map_err(refuse)
    }
}
