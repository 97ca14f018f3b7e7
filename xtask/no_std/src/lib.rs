//! The verdict on a kernel's image where there is no operating system, as a boot
//! loader or firmware would ask for it.
//!
//! This crate is checked and never run. It has the panic handler that the
//! standard library has as well: with `std` anywhere below it, it does not
//! compile.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
extern crate ukexec_boot;
extern crate ukexec_layout;
extern crate ukexec_pe;
extern crate ukexec_signature;

use alloc::boxed::Box;
use core::error::Error;
use core::panic::PanicInfo;

use ukexec_boot::{Kernel, identify};
use ukexec_pe::PeImage;
use ukexec_signature::{
    Algorithm, Checks, DigestSource, Trust, UnverifiedImage, Verdict, verify_image,
};

/// Returns the kernel that `image` is, and the verdict on its signatures.
///
/// # Errors
///
/// `image` is no kernel.
pub fn verified(image: &[u8], trust: &Trust) -> Result<(Kernel, Verdict), Box<dyn Error>> {
    let pe = PeImage::parse(image);
    let unverified = UnverifiedImage {
        bytes: image,
        pe: Some(pe.as_ref()),
        digests: DigestSource::Image,
        state: Algorithm::state,
    };
    let verdict = verify_image(&unverified, trust, Checks::default())?.verdict;
    Ok((identify(image)?, verdict))
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
