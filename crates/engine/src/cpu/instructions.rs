//! The instruction set that kernels run with, chosen once at run time.

use std::sync::OnceLock;

use pulp::{Simd, WithSimd};

/// Instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Instructions {
    /// x86-64-v4: 16 floats at once.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// x86-64-v3: 8 floats at once, with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    /// 4 floats at once.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
    /// Whatever every processor of the architecture has.
    Portable,
}

/// Names the best instruction set that may be used: `avx512`, `avx2`, `neon` or `portable`. For tests and
/// measurements.
const VARIABLE: &str = "PORT_INSTRUCTIONS";

/// Name of the instruction set that kernels use: `avx512`, `avx2`, `neon` or `portable`.
pub fn instructions() -> &'static str {
    Instructions::get().name()
}

impl Instructions {
    /// The best that the processor has, or that the environment variable `PORT_INSTRUCTIONS` allows.
    pub(crate) fn get() -> Instructions {
        static CHOSEN: OnceLock<Instructions> = OnceLock::new();
        *CHOSEN.get_or_init(|| Instructions::best(std::env::var(VARIABLE).ok().as_deref()))
    }

    #[cfg(target_arch = "x86_64")]
    fn best(limit: Option<&str>) -> Instructions {
        let avx2 = || pulp::x86::V3::try_new().map(Instructions::Avx2);
        let avx512 = || pulp::x86::V4::try_new().map(Instructions::Avx512);
        let found = match limit {
            Some("portable") => None,
            Some("avx2") => avx2(),
            _ => avx512().or_else(avx2),
        };
        found.unwrap_or(Instructions::Portable)
    }

    #[cfg(target_arch = "aarch64")]
    fn best(limit: Option<&str>) -> Instructions {
        let neon = || pulp::aarch64::Neon::try_new().map(Instructions::Neon);
        (limit != Some("portable")).then(neon).flatten().unwrap_or(Instructions::Portable)
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn best(_: Option<&str>) -> Instructions {
        Instructions::Portable
    }

    /// Its name, as the environment variable has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon(_) => "neon",
            Instructions::Portable => "portable",
        }
    }

    /// Floats in a register.
    pub(crate) fn lanes(self) -> usize {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            fn with_simd<S: Simd>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        self.run(Lanes)
    }

    /// Runs `operation`, compiled for this instruction set.
    #[inline]
    pub(crate) fn run<O: WithSimd>(self, operation: O) -> O::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512(simd) => Simd::vectorize(simd, operation),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2(simd) => Simd::vectorize(simd, operation),
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon(simd) => Simd::vectorize(simd, operation),
            Instructions::Portable => Simd::vectorize(pulp::Scalar128b, operation),
        }
    }
}

#[cfg(test)]
mod tests {
    /// The tests of all kernels with lesser instruction sets than the best, each in a process of its own.
    #[test]
    #[cfg_attr(miri, ignore = "starts processes")]
    fn kernels_equal_their_references_on_every_instruction_set() {
        if std::env::var_os("PORT_INSTRUCTIONS").is_some() {
            return;
        }
        for instructions in ["portable", "avx2"] {
            let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
            let output = tests.arg("cpu::").env("PORT_INSTRUCTIONS", instructions).output().unwrap();
            assert!(output.status.success(), "{instructions}: {}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
