//! Buffers that values share one after another.

/// Buffers of a plan while it is compiled.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    sizes: Vec<usize>,
    /// How many values lie in each; none makes it free.
    holders: Vec<usize>,
}

impl Buffers {
    /// A buffer of at least `size` floats with one holder: the smallest free one that is large enough, the largest
    /// free one made larger, or a new one.
    pub(super) fn take(&mut self, size: usize) -> usize {
        let free = || self.sizes.iter().enumerate().filter(|(at, _)| self.holders.get(*at) == Some(&0));
        let fitting = free().filter(|(_, free)| **free >= size).min_by_key(|(_, free)| **free);
        let found = fitting.or_else(|| free().max_by_key(|(_, free)| **free)).map(|(at, _)| at);
        let at = found.unwrap_or(self.sizes.len());
        if found.is_none() {
            self.sizes.push(0);
            self.holders.push(0);
        }
        if let Some(own) = self.sizes.get_mut(at) {
            *own = size.max(*own);
        }
        self.hold(at);
        at
    }

    /// One more value lies in the buffer.
    pub(super) fn hold(&mut self, buffer: usize) {
        if let Some(count) = self.holders.get_mut(buffer) {
            *count += 1;
        }
    }

    /// One value less lies in the buffer.
    pub(super) fn release(&mut self, buffer: usize) {
        if let Some(count) = self.holders.get_mut(buffer) {
            *count = count.saturating_sub(1);
        }
    }

    /// Floats of each buffer.
    pub(super) fn sizes(self) -> Vec<usize> {
        self.sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_buffers_are_used_again() {
        let mut buffers = Buffers::default();
        let [large, small] = [buffers.take(100), buffers.take(10)];
        buffers.hold(small);
        buffers.release(small);
        buffers.release(large);
        assert_eq!(buffers.take(10), large, "the small one is still held");
        buffers.release(small);
        assert_eq!(buffers.take(50), small, "made larger rather than a third");
        assert_eq!(buffers.take(1), 2);
        assert_eq!(buffers.sizes(), [100, 50, 1]);
    }
}
