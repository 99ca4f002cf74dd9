//! Buffers by liveness: values that do not live at the same time share memory.

use super::step::Step;
use crate::RuntimeError;
use crate::cpu::convolution::dense::gradient::SLACK;

/// What a value needs: floats, and the first and the last step that use it.
#[derive(Debug, Clone, Copy)]
struct Need {
    size: usize,
    first: usize,
    last: usize,
}

impl Need {
    fn is_apart(&self, other: &Need) -> bool {
        self.last < other.first || other.last < self.first
    }
}

/// How values share buffers.
#[derive(Debug)]
pub(super) struct Sharing {
    /// Floats of each buffer, the largest first.
    pub(super) sizes: Vec<usize>,
    /// The buffer of each value.
    pub(super) numbers: Vec<usize>,
}

/// Gives every value a buffer. `kept` are steps, counted from the first, at which a value is used from outside. Large
/// values choose first, each the first buffer that is free for all of its life.
///
/// # Errors
/// A step that reads what it writes.
pub(super) fn share<'s>(
    sizes: &[usize],
    steps: impl Iterator<Item = &'s Step>,
    kept: &[(usize, usize)],
) -> Result<Sharing, RuntimeError> {
    let mut needs: Vec<Need> =
        sizes.iter().map(|size| Need { size: *size, first: usize::MAX, last: 0 }).collect();
    let mut uses = kept.to_vec();
    for (at, step) in steps.enumerate() {
        let targets: Vec<usize> = step.targets().iter().map(|part| part.buffer).collect();
        if step.reads.iter().any(|part| targets.contains(&part.buffer)) {
            return Err(RuntimeError::internal("", format!("{} reads what it writes", step.name())));
        }
        uses.extend(step.reads.iter().map(|part| (part.buffer, at)));
        uses.extend(targets.into_iter().map(|buffer| (buffer, at)));
    }
    for (value, at) in uses {
        let unknown = || RuntimeError::internal("", "a value has no size");
        let need = needs.get_mut(value).ok_or_else(unknown)?;
        (need.first, need.last) = (need.first.min(at), need.last.max(at));
    }
    Ok(shared(needs))
}

fn shared(needs: Vec<Need>) -> Sharing {
    let mut order: Vec<(usize, Need)> = needs.into_iter().enumerate().collect();
    order.sort_by_key(|(value, need)| (std::cmp::Reverse(need.size), *value));
    let mut numbers = vec![0; order.len()];
    let mut buffers: Vec<(usize, Vec<Need>)> = Vec::new();
    for (value, need) in order {
        let is_free = |(_, tenants): &(usize, Vec<Need>)| tenants.iter().all(|tenant| tenant.is_apart(&need));
        let at = buffers.iter().position(is_free).unwrap_or(buffers.len());
        match buffers.get_mut(at) {
            Some((_, tenants)) => tenants.push(need),
            None => buffers.push((need.size, vec![need])),
        }
        numbers.iter_mut().skip(value).take(1).for_each(|number| *number = at);
    }
    Sharing { sizes: buffers.into_iter().map(|(size, _)| size + SLACK).collect(), numbers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_share_what_is_free_for_all_of_their_life() {
        let need = |size, first, last| Need { size, first, last };
        let sharing =
            shared(vec![need(10, 0, 1), need(100, 1, 2), need(50, 2, 3), need(40, 3, 4), need(0, 9, 9)]);
        assert_eq!(sharing.numbers, [1, 0, 1, 0, 0]);
        assert_eq!(sharing.sizes, [100 + SLACK, 50 + SLACK]);
    }
}
