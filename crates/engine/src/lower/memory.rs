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

/// Gives every value a buffer. `kept` are steps, counted from the first, at which a value is used from outside.
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
    Ok(shared(&needs))
}

/// The better of two ways: large values choose first, or those that are needed first.
fn shared(needs: &[Need]) -> Sharing {
    let ways = [by_size(needs), by_time(needs)];
    let (sizes, numbers) =
        ways.into_iter().min_by_key(|(sizes, _)| sizes.iter().sum::<usize>()).unwrap_or_default();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(sizes.get(*at)));
    let rank = |number: usize| order.iter().position(|at| *at == number).unwrap_or(number);
    let numbers = numbers.into_iter().map(rank).collect();
    let sizes = order.iter().filter_map(|at| sizes.get(*at)).map(|size| size + SLACK).collect();
    Sharing { sizes, numbers }
}

/// Large values choose first, each the first buffer that is free for all of its life.
fn by_size(needs: &[Need]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<(usize, &Need)> = needs.iter().enumerate().collect();
    order.sort_by_key(|(value, need)| (std::cmp::Reverse(need.size), *value));
    let mut numbers = vec![0; needs.len()];
    let mut buffers: Vec<(usize, Vec<Need>)> = Vec::new();
    for (value, need) in order {
        let is_free = |(_, tenants): &(usize, Vec<Need>)| tenants.iter().all(|tenant| tenant.is_apart(need));
        let at = buffers.iter().position(is_free).unwrap_or(buffers.len());
        match buffers.get_mut(at) {
            Some((_, tenants)) => tenants.push(*need),
            None => buffers.push((need.size, vec![*need])),
        }
        numbers.iter_mut().skip(value).take(1).for_each(|number| *number = at);
    }
    (buffers.into_iter().map(|(size, _)| size).collect(), numbers)
}

/// As values come to life, each takes the smallest free buffer that is large enough, or the largest, made larger.
fn by_time(needs: &[Need]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<(usize, &Need)> = needs.iter().enumerate().collect();
    order.sort_by_key(|(value, need)| (need.first, *value));
    let mut numbers = vec![0; needs.len()];
    let mut buffers: Vec<Need> = Vec::new();
    for (value, need) in order {
        let free = || buffers.iter().enumerate().filter(|(_, tenant)| tenant.last < need.first);
        let fitting =
            free().filter(|(_, tenant)| tenant.size >= need.size).min_by_key(|(_, tenant)| tenant.size);
        let found = fitting.or_else(|| free().max_by_key(|(_, tenant)| tenant.size)).map(|(at, _)| at);
        let at = found.unwrap_or(buffers.len());
        match buffers.get_mut(at) {
            Some(tenant) => *tenant = Need { size: tenant.size.max(need.size), ..*need },
            None => buffers.push(*need),
        }
        numbers.iter_mut().skip(value).take(1).for_each(|number| *number = at);
    }
    (buffers.into_iter().map(|tenant| tenant.size).collect(), numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_share_what_is_free_for_all_of_their_life() {
        let need = |size, first, last| Need { size, first, last };
        let needs = [need(10, 0, 1), need(100, 1, 2), need(50, 2, 3), need(40, 3, 4)];
        let sharing = shared(&needs);
        assert_eq!(sharing.numbers, [1, 0, 1, 0]);
        assert_eq!(sharing.sizes, [100 + SLACK, 50 + SLACK]);
        for (sizes, numbers) in [by_size(&needs), by_time(&needs)] {
            for (value, need) in needs.iter().enumerate() {
                assert!(sizes[numbers[value]] >= need.size);
                let mut others = needs.iter().zip(&numbers).skip(value + 1);
                assert!(others.all(|(other, number)| *number != numbers[value] || other.is_apart(need)));
            }
        }
    }
}
