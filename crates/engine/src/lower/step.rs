//! What a plan does, one kernel after another.

use super::convolution::{Convolution, ConvolutionSum};
use super::elements::{Elements, FactorSum};
use super::norm::{Norm, NormSums};
use super::reference::Reference;
use super::rows::Rows;
use super::windows::Windows;
use crate::RuntimeError;
use crate::cpu::aligned::Aligned;
use crate::cpu::convolution::chosen::Scratch;
use crate::cpu::elements::channels::zero;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::norm::normalisation::Normalisation;
use crate::cpu::place::Part;
use crate::cpu::team::Team;
use crate::store::Store;
use network::graph::{Graph, Value};

/// A kernel with its operands.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it computes, or the gradient of which it computes, alone or with other steps.
    pub(crate) value: Value,
    pub(crate) reads: Vec<Part>,
    pub(crate) work: Work,
}

/// What a step changes.
#[derive(Debug)]
pub(crate) enum Work {
    /// A value, or the gradient of one.
    Write(Write, Target),
    /// Gradients of parameters.
    Sum(Sum),
    /// Gradients of a node's inputs and parameters, by the reference.
    Differentiate { node: Reference, targets: Vec<Option<Target>>, sums: Vec<Option<SumTarget>> },
}

/// Where a result is written, or added to what is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) part: Part,
    pub(crate) add: bool,
}

/// A parameter's gradient: its position, and whether others have written to it before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SumTarget {
    pub(crate) parameter: usize,
    pub(crate) add: bool,
}

/// Kernels that write a value, by kind.
#[derive(Debug)]
pub(crate) enum Write {
    Zero,
    Convolution(Convolution),
    Norm(Norm),
    Elements(Elements),
    Windows(Windows),
    Rows(Rows),
    /// What has no kernel, by the reference.
    Reference(Reference),
}

/// Kernels that write gradients of parameters, by kind.
#[derive(Debug)]
pub(crate) enum Sum {
    Convolution(ConvolutionSum),
    Norm(NormSums),
    Factor(FactorSum),
}

/// What steps work with.
pub(crate) struct Tools<'a> {
    pub(crate) team: &'a Team,
    pub(crate) graph: &'a Graph,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) norms: &'a mut [Normalisation],
    pub(crate) store: &'a mut Store,
}

/// The operands of a step.
#[derive(Clone, Copy)]
pub(crate) struct Reads<'a> {
    step: &'a Step,
    buffers: &'a [Aligned],
}

impl<'a> Reads<'a> {
    /// The operand at an index.
    pub(crate) fn source(&self, index: usize) -> Result<Source<'a>, RuntimeError> {
        let part = self.part(index)?;
        Ok((floats(self.buffers, part)?, part.grid, part.channel))
    }

    /// The operand at an index, where a kernel can do without.
    pub(crate) fn optional(&self, index: usize) -> Result<Option<Source<'a>>, RuntimeError> {
        (index < self.step.reads.len()).then(|| self.source(index)).transpose()
    }

    /// The first two.
    pub(crate) fn two(&self) -> Result<[Source<'a>; 2], RuntimeError> {
        Ok([self.source(0)?, self.source(1)?])
    }

    /// Where the operand at an index lies.
    pub(crate) fn part(&self, index: usize) -> Result<Part, RuntimeError> {
        let missing = || RuntimeError::internal("", format!("a step lacks its operand {index}"));
        self.step.reads.get(index).copied().ok_or_else(missing)
    }

    pub(crate) fn buffers(&self) -> &'a [Aligned] {
        self.buffers
    }
}

/// Where a kernel writes.
pub(crate) struct Writes<'a> {
    pub(crate) floats: &'a mut [f32],
    pub(crate) grid: Grid,
    pub(crate) channel: usize,
    pub(crate) channels: usize,
    pub(crate) add: bool,
}

impl<'a> Writes<'a> {
    /// Numbers, pixels, and the position of the first channel.
    pub(crate) fn target(self) -> (&'a mut [f32], Grid, usize) {
        (self.floats, self.grid, self.channel)
    }
}

impl Step {
    /// Its name, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match &self.work {
            Work::Write(write, _) => write.name(),
            Work::Sum(Sum::Convolution(sum)) => sum.name(),
            Work::Sum(Sum::Norm(_)) => "norm, gradient of the parameters",
            Work::Sum(Sum::Factor(_)) => "scale",
            Work::Differentiate { .. } => "reference executor",
        }
    }

    /// What it writes, if that is one value.
    pub(crate) fn target(&self) -> Option<Part> {
        match &self.work {
            Work::Write(_, target) => Some(target.part),
            Work::Sum(_) | Work::Differentiate { .. } => None,
        }
    }

    /// Whether it goes to the reference.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(&self.work, Work::Write(Write::Reference(_), _) | Work::Differentiate { .. })
    }

    /// The parts of values and gradients that it writes.
    pub(crate) fn targets(&self) -> Vec<&Part> {
        match &self.work {
            Work::Write(_, target) => vec![&target.part],
            Work::Sum(_) => Vec::new(),
            Work::Differentiate { targets, .. } => targets.iter().flatten().map(|one| &one.part).collect(),
        }
    }

    /// Puts the numbers of buffers in the place of those of values.
    pub(crate) fn renumber(&mut self, number: impl Fn(&mut Part)) {
        self.reads.iter_mut().for_each(&number);
        match &mut self.work {
            Work::Write(_, target) => number(&mut target.part),
            Work::Sum(_) => {}
            Work::Differentiate { targets, .. } => {
                targets.iter_mut().flatten().for_each(|target| number(&mut target.part));
            }
        }
    }

    /// Computes what it is for. The buffer that is written is none of those that are read: `memory` has seen to it.
    pub(crate) fn run(&self, tools: &mut Tools<'_>, buffers: &mut [Aligned]) -> Result<(), RuntimeError> {
        let done = match &self.work {
            Work::Write(write, target) => self.write(write, target, tools, buffers),
            Work::Sum(sum) => sum.run(tools, Reads { step: self, buffers }),
            Work::Differentiate { node, targets, sums } => node
                .differentiate(Reads { step: self, buffers }, (targets, sums), tools)
                .and_then(|gradients| node.give(targets, &gradients, buffers)),
        };
        done.map_err(|error| self.located(error, tools.graph))
    }

    fn write(
        &self,
        write: &Write,
        Target { part, add }: &Target,
        tools: &mut Tools<'_>,
        buffers: &mut [Aligned],
    ) -> Result<(), RuntimeError> {
        let taken = buffers.get_mut(part.buffer).map(std::mem::take);
        let mut result =
            taken.ok_or_else(|| RuntimeError::internal("", "a step writes a buffer that is not there"))?;
        let Part { grid, channel, channels, .. } = *part;
        let to = Writes { floats: result.floats_mut(), grid, channel, channels, add: *add };
        let done = write.run(tools, Reads { step: self, buffers }, to);
        if let Some(slot) = buffers.get_mut(part.buffer) {
            *slot = result;
        }
        done
    }

    /// The same fault with the module that the step belongs to.
    fn located(&self, error: RuntimeError, graph: &Graph) -> RuntimeError {
        match error {
            RuntimeError::Internal { module, what } if module.is_empty() => {
                RuntimeError::internal(graph.node(self.value).map_or("", |node| graph.path(node)), what)
            }
            other => other,
        }
    }
}

impl Write {
    /// Its name, for tables.
    fn name(&self) -> &'static str {
        match self {
            Write::Zero => "zero",
            Write::Convolution(convolution) => convolution.name(),
            Write::Norm(norm) => norm.name(),
            Write::Elements(elements) => elements.name(),
            Write::Windows(windows) => windows.name(),
            Write::Rows(rows) => rows.name(),
            Write::Reference(_) => "reference executor",
        }
    }

    /// Whether it can add to what is there.
    pub(crate) fn adds(&self) -> bool {
        match self {
            Write::Zero | Write::Reference(_) => false,
            Write::Convolution(_) | Write::Elements(_) => true,
            Write::Norm(norm) => norm.adds(),
            Write::Windows(windows) => windows.adds(),
            Write::Rows(rows) => rows.adds(),
        }
    }

    /// Whether it can do nothing but add to what is there.
    pub(crate) fn only_adds(&self) -> bool {
        matches!(self, Write::Windows(Windows::MaxPoolGradient { .. }))
    }

    fn run(&self, tools: &mut Tools<'_>, reads: Reads<'_>, to: Writes<'_>) -> Result<(), RuntimeError> {
        match self {
            Write::Zero => {
                let channels = to.channels;
                zero(to.target(), channels);
                Ok(())
            }
            Write::Convolution(convolution) => convolution.run(tools, reads, to),
            Write::Norm(norm) => norm.run(tools, reads, to),
            Write::Elements(elements) => elements.run(tools, reads, to),
            Write::Windows(windows) => windows.run(tools, reads, to),
            Write::Rows(rows) => rows.run(tools, reads, to),
            Write::Reference(node) => node.run(tools, reads, to),
        }
    }
}

impl Sum {
    fn run(&self, tools: &mut Tools<'_>, reads: Reads<'_>) -> Result<(), RuntimeError> {
        match self {
            Sum::Convolution(sum) => sum.run(tools, reads),
            Sum::Norm(sums) => sums.run(tools, reads),
            Sum::Factor(sum) => sum.run(tools, reads),
        }
    }
}

/// The numbers of a buffer.
pub(crate) fn floats(buffers: &[Aligned], part: Part) -> Result<&[f32], RuntimeError> {
    let missing = || RuntimeError::internal("", "a step reads a buffer that is not there");
    buffers.get(part.buffer).map(Aligned::floats).ok_or_else(missing)
}
