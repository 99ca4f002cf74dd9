//! Buffers by liveness: values that do not live at the same time share memory.

use super::step::Step;
use crate::kernels::channels_last::aligned::Aligned;
use crate::kernels::channels_last::products_gradient::SLACK;

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

/// Gives every value a buffer, and the steps the buffers' numbers. `kept` are steps, counted from the first, at which
/// a buffer is used from outside. Large values choose first, each the first buffer that is free for all of its life.
pub(super) fn share(
    sizes: &[usize],
    steps: &mut [&mut Step],
    kept: &[(usize, usize)],
) -> (Vec<Aligned>, Vec<usize>) {
    let mut needs: Vec<Need> =
        sizes.iter().map(|size| Need { size: *size, first: usize::MAX, last: 0 }).collect();
    let uses = steps.iter().enumerate().flat_map(|(at, step)| step.buffers().map(move |buffer| (buffer, at)));
    for (buffer, at) in uses.chain(kept.iter().copied()) {
        if let Some(need) = needs.get_mut(buffer) {
            need.first = need.first.min(at);
            need.last = need.last.max(at);
        }
    }
    let mut order: Vec<(usize, Need)> = needs.into_iter().enumerate().collect();
    order.sort_by_key(|(buffer, need)| (std::cmp::Reverse(need.size), *buffer));
    let mut numbers = vec![0; order.len()];
    let mut shared: Vec<(usize, Vec<Need>)> = Vec::new();
    for (value, need) in order {
        let is_free = |(_, tenants): &(usize, Vec<Need>)| tenants.iter().all(|tenant| tenant.is_apart(&need));
        let found = shared.iter().position(is_free);
        let at = found.unwrap_or(shared.len());
        match shared.get_mut(at) {
            Some((_, tenants)) => tenants.push(need),
            None => shared.push((need.size, vec![need])),
        }
        if let Some(number) = numbers.get_mut(value) {
            *number = at;
        }
    }
    for step in steps.iter_mut() {
        step.renumber(&numbers);
    }
    (shared.into_iter().map(|(size, _)| Aligned::zeros(size + SLACK)).collect(), numbers)
}
