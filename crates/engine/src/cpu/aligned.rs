//! Floats that begin where a cache line does.

/// Floats whose first lies at a multiple of 64 bytes, so that registers of channels do not cross cache lines.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    floats: Vec<f32>,
    start: usize,
    length: usize,
}

impl Aligned {
    pub(crate) fn zeros(length: usize) -> Aligned {
        /// Bytes of a cache line of x86-64 and most of aarch64.
        const LINE: usize = 64;
        let floats = vec![0.0_f32; length + LINE / size_of::<f32>()];
        let start = floats.as_ptr().align_offset(LINE).min(floats.len() - length);
        Aligned { floats, start, length }
    }

    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats[self.start..self.start + self.length]
    }

    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..self.start + self.length]
    }
}

impl From<&[f32]> for Aligned {
    fn from(floats: &[f32]) -> Aligned {
        let mut aligned = Aligned::zeros(floats.len());
        aligned.floats_mut().copy_from_slice(floats);
        aligned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_begin_at_a_cache_line() {
        for length in [0, 1, 16, 1000] {
            let mut aligned = Aligned::zeros(length);
            assert_eq!((aligned.floats().len(), aligned.floats_mut().len()), (length, length));
            assert!(length == 0 || aligned.floats().as_ptr().addr().is_multiple_of(64));
        }
        assert_eq!(Aligned::from([1.0, 2.0].as_slice()).floats(), [1.0, 2.0]);
    }
}
