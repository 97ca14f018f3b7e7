//! Loading: bytes of an object or of a light skeleton become a [`Parser`].
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

pub mod container;
pub(crate) mod core_relo;
mod definition;
mod elf;
pub mod limits;
mod look_alike;
mod object;
mod offered;
mod problems;
pub mod skeleton;

use self::limits::MAX_OBJECT_BYTES;
use self::look_alike::refuse_look_alikes;
use self::problems::Problems;
use crate::error::check_count;
use crate::{BpfError, Interface, Parser};

impl Parser {
    /// Loads a plain BPF object, or a light skeleton (see [`skeleton`]), for a
    /// host.
    ///
    /// ```
    /// use ukexec_bpf::btf::TypesBuilder;
    /// use ukexec_bpf::{HookDecl, Interface, KfuncDecl, Parser};
    ///
    /// let mut types = TypesBuilder::new();
    /// let boolean = types.boolean();
    /// let char = types.char();
    /// let int = types.int("int", 4, true);
    /// let bytes = types.pointer(char);
    /// let members = [("kdump", boolean), ("image", bytes), ("image_sz", int)];
    /// types.structure("kexec_context", &members);
    /// let hook = |name| HookDecl { name, args: 1 };
    /// let interface = Interface {
    ///     types: vec![types.build().into()],
    ///     choose: Interface::only,
    ///     hooks: ["bpf_handle_pefile", "bpf_post_handle_pefile", "ukexec_match_image"]
    ///         .map(hook)
    ///         .to_vec(),
    ///     kfuncs: vec![KfuncDecl { name: "bpf_copy_to_kernel", args: 3 }],
    /// };
    /// let object = std::fs::read("testdata/objects/parser-19-v3.bpf.o")?;
    /// let parser = Parser::load(&object, &interface)?;
    /// assert_eq!(parser.programs[0].hook, "bpf_handle_pefile");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BpfError`] says what in the object cannot be loaded and why.
    pub fn load(object: &[u8], interface: &Interface) -> Result<Self, BpfError> {
        Self::load_some(object, interface, None)
    }

    /// Like [`Parser::load`], but with the programs on `hook` alone. Those of an object that are
    /// on others are not looked at, and cost nothing.
    ///
    /// # Errors
    ///
    /// [`BpfError`] says what in the rest of the object cannot be loaded and why.
    pub fn load_hook(object: &[u8], interface: &Interface, hook: &str) -> Result<Self, BpfError> {
        Self::load_some(object, interface, Some(hook))
    }

    fn load_some(
        object: &[u8],
        interface: &Interface,
        hook: Option<&str>,
    ) -> Result<Self, BpfError> {
        let mut problems = Problems::default();
        let loaded = Self::load_noting(object, interface, hook, &mut problems);
        match problems.list.into_iter().next() {
            Some(first) => Err(first),
            None => loaded,
        }
    }

    /// Like [`Parser::load`], for an author: goes on behind what is refused and
    /// says all that it finds, up to a limit.
    ///
    /// # Errors
    ///
    /// At least one [`BpfError`]; the first is that of [`Parser::load`].
    pub fn load_or_explain(object: &[u8], interface: &Interface) -> Result<Self, Vec<BpfError>> {
        let mut problems = Problems::default();
        match Self::load_noting(object, interface, None, &mut problems) {
            Ok(parser) if problems.list.is_empty() => Ok(parser),
            Ok(_partly) => Err(problems.list),
            Err(last) => {
                problems.list.push(last);
                Err(problems.list)
            }
        }
    }

    /// Loads what can be loaded, of the programs those on `hook` if there is one; it is of no use
    /// where there are `problems`.
    fn load_noting(
        object: &[u8],
        interface: &Interface,
        hook: Option<&str>,
        problems: &mut Problems,
    ) -> Result<Self, BpfError> {
        check_count("bytes of the object", object.len(), MAX_OBJECT_BYTES)?;
        refuse_look_alikes(object)?;
        let loaded = if skeleton::is_skeleton(object) {
            // Its loader program loads all that there are.
            skeleton::load(object, interface).map(|mut parser| {
                let is_wanted = |name: &str| hook.is_none_or(|hook| name == hook);
                parser.programs.retain(|program| is_wanted(&program.hook));
                parser
            })
        } else {
            object::load(object, interface, hook, problems)
        };
        loaded.map_err(|error| container::explain(object).unwrap_or(error))
    }
}
