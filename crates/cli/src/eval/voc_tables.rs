//! The result of a VOC evaluation, for people and for programs.

use std::fmt::Write;

use crate::failure::Result;
use serde_json::{Value as Json, json};

use super::measure::Year;
use super::outcome::VocOutcome;
use super::tables;
use crate::report::{Align, Table, count};
use vision::eval::voc::{ClassResult, mean_average_precision};

impl Year {
    fn of(self, result: &ClassResult) -> Option<f64> {
        match self {
            Year::Seven => result.ap07,
            Year::Ten => result.ap10,
        }
    }
}

/// The mean and the classes.
pub(super) fn text(outcome: &VocOutcome) -> Result<String> {
    let VocOutcome { classes, warnings, provenance } = outcome;
    let measure = provenance.settings;
    let mut text = String::new();
    if let Some(run) = &provenance.detector {
        let detections = classes.iter().map(|class| class.detections).sum();
        writeln!(text, "annotations  {}", tables::shown(&provenance.annotations))?;
        write!(text, "{}", tables::detector(run, detections)?)?;
    }
    for warning in warnings {
        writeln!(text, "warning: {warning}")?;
    }
    let year = match measure.metric {
        Year::Seven => "07, eleven points",
        Year::Ten => "10, area",
    };
    let mean = mean_average_precision(classes.iter().map(|class| measure.metric.of(class)));
    writeln!(text, "mAP ({year}, IoU {}): {}\n", measure.settings.iou, measured(mean))?;
    write!(text, "{}", table(classes, measure.metric))?;
    Ok(text)
}

fn table(classes: &[ClassResult], metric: Year) -> Table {
    let columns = ["objects", "difficult", "detections", "right", "wrong", "AP"];
    let columns = columns.map(|name| (name, Align::Right));
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
    for class in classes {
        let counts =
            [class.objects, class.difficult, class.detections, class.true_positives, class.false_positives];
        let mut row = vec![class.name.clone()];
        row.extend(counts.map(|number| count(number as u64)));
        row.push(measured(metric.of(class)));
        table.row(row);
    }
    table
}

fn measured(value: Option<f64>) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.4}"))
}

/// Everything, in both metrics.
pub(super) fn document(outcome: &VocOutcome) -> Result<Json> {
    let VocOutcome { classes, warnings, provenance } = outcome;
    let mean = |of: &dyn Fn(&ClassResult) -> Option<f64>| mean_average_precision(classes.iter().map(of));
    let warnings = warnings.iter().map(|one| json!({ "kind": one.kind(), "message": one.to_string() }));
    Ok(json!({
        "map": mean(&|class| provenance.settings.metric.of(class)),
        "map07": mean(&|class| class.ap07),
        "map10": mean(&|class| class.ap10),
        "per_class": serde_json::to_value(classes)?,
        "warnings": warnings.collect::<Vec<_>>(),
        "provenance": serde_json::to_value(provenance)?,
    }))
}
