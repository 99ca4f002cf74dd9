//! `port eval`: how good are detections?

mod classes;
mod coco;
mod detector;
mod measure;
mod options;
mod outcome;
mod pictures;
mod provenance;
mod replay;
mod source;
mod tables;
mod voc;
mod voc_tables;

use crate::failure::Result;
use clap::{Args, Subcommand};

use crate::outcome::Report;

/// Arguments of `port eval`.
#[derive(Debug, Args)]
pub(super) struct Eval {
    #[command(subcommand)]
    metric: Metric,
}

#[derive(Debug, Subcommand)]
enum Metric {
    /// COCO's metric: the twelve numbers of pycocotools, and every class
    Coco(Box<coco::Coco>),
    /// Pascal VOC's metric: average precision with eleven points (2007) or as an area (2010)
    Voc(Box<voc::Voc>),
}

impl Eval {
    pub(super) fn run(&self) -> Result<Report> {
        match &self.metric {
            Metric::Coco(coco) => coco.run(),
            Metric::Voc(voc) => voc.run(),
        }
    }

    pub(super) fn json(&self) -> bool {
        match &self.metric {
            Metric::Coco(coco) => coco.json,
            Metric::Voc(voc) => voc.json,
        }
    }
}
