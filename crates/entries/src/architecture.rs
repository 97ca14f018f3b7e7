//! Architectures, as entries, PE headers and running kernels name them.
//!
//! Spec: UAPI group, "Boot Loader Specification", key `architecture`; PE format, "Machine
//! Types".

/// A row of the table below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Architecture {
    word: &'static str,
    machine: u16,
    /// The names that kernels have for it.
    kernels: &'static [&'static str],
}

const ARCHITECTURES: [Architecture; 6] = [
    row("x64", 0x8664, &["x86_64"]),
    row("aa64", 0xaa64, &["aarch64", "aarch64_be"]),
    row("riscv64", 0x5064, &["riscv64"]),
    row("loongarch64", 0x6264, &["loongarch64"]),
    row("ia32", 0x014c, &["i386", "i486", "i586", "i686"]),
    row("arm", 0x01c2, &["armv6l", "armv7l", "armv8l"]),
];

const fn row(word: &'static str, machine: u16, kernels: &'static [&'static str]) -> Architecture {
    Architecture {
        word,
        machine,
        kernels,
    }
}

impl Architecture {
    /// Returns the architecture of a kernel that has this name for its own.
    pub(crate) fn of_kernel(name: &str) -> Option<Self> {
        let is_it = |row: &Self| row.kernels.contains(&name);
        ARCHITECTURES.into_iter().find(is_it)
    }

    /// Returns whether entries call it `word`.
    pub(crate) fn is_called(self, word: &str) -> bool {
        self.word.eq_ignore_ascii_case(word)
    }

    /// Returns whether programs of this machine type run on it.
    pub(crate) fn runs(self, machine: u16) -> bool {
        self.machine == machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_architecture_has_three_names() {
        let x64 = Architecture::of_kernel("x86_64").unwrap();
        assert!(x64.is_called("X64") && x64.runs(0x8664));
        assert!(!x64.is_called("aa64") && !x64.runs(0xaa64));
        assert!(Architecture::of_kernel("s390x").is_none());
    }
}
