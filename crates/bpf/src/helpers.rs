//! Helpers and built-in kfuncs: the functions this crate offers to programs.

use crate::Interface;

/// Kfuncs offered to every host's programs, by their number less
/// [`Interface::BUILT_IN`].
const KFUNCS: [&str; 3] = ["bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"];

/// Returns the number of the built-in kfunc `name`.
pub(crate) fn built_in(name: &str) -> Option<u32> {
    (Interface::BUILT_IN..).zip(KFUNCS).find(|(_, known)| *known == name).map(|(number, _)| number)
}
