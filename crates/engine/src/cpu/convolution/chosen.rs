//! Dense convolutions with weights that change, by the kernels that are fastest for their shapes.

use crate::cpu::aligned::Aligned;
use crate::cpu::convolution::dense::stored::Products;
use crate::cpu::convolution::epilogue::Epilogue;
use crate::cpu::convolution::winograd::gradient::WinogradGradient;
use crate::cpu::convolution::winograd::stored::WinogradProducts;
use crate::cpu::convolution::winograd::tiling::{Tiling, pays};
use crate::cpu::convolution::winograd::weights::transform;
use crate::cpu::grid::{Grid, Source};
use crate::cpu::team::Team;
use crate::cpu::workspaces::Workspaces;
use network::graph::Conv;

/// A convolution, or the gradient of one's input.
#[derive(Debug)]
pub(crate) struct Dense {
    conv: Conv,
    /// Channels of the convolution's input.
    channels: usize,
    products: Products,
    /// Winograd's form, where it pays.
    winograd: Option<WinogradProducts>,
    /// Whether it is the gradient of an input.
    is_backward: bool,
}

/// Memory in which convolutions work, one after another.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Weights in the order in which the gradient of an input wants them.
    transposed: Aligned,
    /// Weights in Winograd's form.
    transformed: Aligned,
    /// For the gradients of weights in Winograd's form.
    tiles: Aligned,
    workspaces: Workspaces,
    /// Floats of a workspace.
    workspace: usize,
}

/// Floats of each part of a [`Scratch`].
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ScratchSize {
    transposed: usize,
    transformed: usize,
    tiles: usize,
    workspace: usize,
}

impl ScratchSize {
    /// So many floats for each thread.
    pub(crate) fn of_threads(workspace: usize) -> ScratchSize {
        ScratchSize { workspace, ..ScratchSize::default() }
    }

    /// What is enough for both.
    pub(crate) fn union(self, other: ScratchSize) -> ScratchSize {
        ScratchSize {
            transposed: self.transposed.max(other.transposed),
            transformed: self.transformed.max(other.transformed),
            tiles: self.tiles.max(other.tiles),
            workspace: self.workspace.max(other.workspace),
        }
    }
}

impl Scratch {
    /// Makes sure that there is as much as a plan needs.
    pub(crate) fn grow(&mut self, size: ScratchSize) {
        let parts = [&mut self.transposed, &mut self.transformed, &mut self.tiles];
        for (part, size) in parts.into_iter().zip([size.transposed, size.transformed, size.tiles]) {
            if part.floats().len() < size {
                *part = Aligned::zeros(size);
            }
        }
        self.workspace = self.workspace.max(size.workspace);
    }

    /// Where each thread works.
    pub(crate) fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// Makes sure that each thread of a team has room to work in.
    pub(crate) fn reserve(&mut self, team: &Team) {
        self.workspaces.reserve(team.threads(), self.workspace);
    }
}

impl Dense {
    /// A convolution of `channels` at pictures of this size; see [`Products::forward`].
    pub(crate) fn forward(conv: &Conv, channels: usize, size: [usize; 2], is_bordered: bool) -> Dense {
        let products = Products::forward(conv, channels, is_bordered);
        Dense::new(products, conv, channels, size, false)
    }

    /// The gradient of its input, which has this size.
    pub(crate) fn input_gradient(&self, size: [usize; 2]) -> Dense {
        let Dense { conv, channels, .. } = self;
        Dense::new(Products::backward(conv, *channels), conv, *channels, size, true)
    }

    fn new(products: Products, conv: &Conv, channels: usize, size: [usize; 2], is_backward: bool) -> Dense {
        let [from, to] = if is_backward { [conv.out, channels] } else { [channels, conv.out] };
        let instructions = products.instructions();
        let tiling = Tiling::of(size, 9 * from * to);
        let winograd = || WinogradProducts::new(tiling, from, to, instructions);
        let winograd = pays(conv, from).then(winograd);
        Dense { conv: *conv, channels, products, winograd, is_backward }
    }

    /// What it needs to work in.
    pub(crate) fn scratch(&self) -> ScratchSize {
        let is_forward = !self.is_backward;
        ScratchSize {
            transposed: if is_forward { 0 } else { self.products.size() },
            transformed: self.winograd.as_ref().map_or(0, WinogradProducts::size),
            tiles: self.winograd_gradient().filter(|_| is_forward).map_or(0, |own| own.workspace()),
            workspace: self.winograd.as_ref().map_or(0, WinogradProducts::workspace),
        }
    }

    /// Writes the result, or adds it to what is there.
    pub(crate) fn run(
        &self,
        team: &Team,
        scratch: &mut Scratch,
        weights: [&[f32]; 2],
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        add: bool,
    ) {
        let Scratch { transformed, workspaces, .. } = scratch;
        self.run_in(team, (transformed, workspaces), weights, source, target, add);
    }

    /// The same with the weights of `forward`, which this is the gradient of.
    pub(crate) fn run_back(
        &self,
        team: &Team,
        scratch: &mut Scratch,
        (forward, weights): (&Dense, &[f32]),
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        add: bool,
    ) {
        let Scratch { transposed, transformed, workspaces, .. } = scratch;
        self.products.transpose(team, &forward.products, weights, transposed.floats_mut());
        let weights = &transposed.floats()[..self.products.size()];
        self.run_in(team, (transformed, workspaces), [weights, &[]], source, target, add);
    }

    fn run_in(
        &self,
        team: &Team,
        (transformed, workspaces): (&mut Aligned, &Workspaces),
        [weights, bias]: [&[f32]; 2],
        source: Source<'_>,
        target: (&mut [f32], Grid, usize),
        add: bool,
    ) {
        let Some(winograd) = &self.winograd else {
            return self.products.run(team, [weights, bias], source, target, add);
        };
        let transformed = &mut transformed.floats_mut()[..winograd.size()];
        transform(team, (&self.products, winograd.tiling()), weights, transformed, self.is_backward);
        let epilogue = Epilogue { add, ..Epilogue::default() };
        winograd.run(team, workspaces, [transformed, bias], source, target, epilogue);
    }

    fn winograd_gradient(&self) -> Option<WinogradGradient<'_>> {
        let tiling = self.winograd.as_ref()?.tiling();
        Some(WinogradGradient::new(&self.products, tiling))
    }

    /// Writes the gradient of the weights, or adds it to what is there, from the input and the gradient of the result.
    pub(crate) fn weight_gradient(
        &self,
        team: &Team,
        scratch: &mut Scratch,
        x: Source<'_>,
        result: Source<'_>,
        (gradient, add): (&mut [f32], bool),
    ) {
        match self.winograd_gradient() {
            Some(own) => own.run(team, x, result, scratch.tiles.floats_mut(), (gradient, add)),
            None => self.products.weight_gradient(team, x, result, gradient, add),
        }
    }
}
