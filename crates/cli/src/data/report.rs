//! What `port data` prints: numbers, class balance, defects.

use std::fmt::Write;

use crate::failure::Result;
use serde_json::{Value as Json, json};

use crate::report::{Align, Table, count};
use vision::data::{Defects, Effect, Loaded, SizeCounts, Statistics};

/// A data set's numbers for people.
pub(super) fn statistics_text(statistics: &Statistics) -> Result<String> {
    let mut text = String::new();
    let Statistics { images, empty_images, objects, crowds, difficult, most_objects, .. } = statistics;
    let total = objects.total();
    writeln!(text, "{} images, {} without objects", count(*images), count(*empty_images))?;
    let mean = total as f64 / (*images).max(1) as f64;
    writeln!(text, "{} objects, {mean:.1} in an image, at most {most_objects}", count(total))?;
    if crowds + difficult > 0 {
        writeln!(text, "{} crowds, {} difficult", count(*crowds), count(*difficult))?;
    }
    let number = |name| (name, Align::Right);
    let columns = ["objects", "share", "small", "medium", "large", "images"].map(number);
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
    for class in statistics.classes.iter().filter(|class| class.objects.total() > 0) {
        table.row(row(&class.name, class.objects, total, class.images));
    }
    table.row(row("all", *objects, total, images - empty_images));
    write!(text, "\n{table}")?;
    if let unused @ 1.. = statistics.classes.iter().filter(|class| class.objects.total() == 0).count() {
        writeln!(text, "({unused} classes without objects)")?;
    }
    writeln!(text, "small: below 32² px, large: above 96² px")?;
    Ok(text)
}

fn row(name: &str, objects: SizeCounts, total: u64, images: u64) -> Vec<String> {
    let SizeCounts { small, medium, large } = objects;
    let numbers = [small, medium, large, images].map(count);
    let mut row = vec![name.to_owned(), count(objects.total()), share(objects.total(), total)];
    row.extend(numbers);
    row
}

fn share(part: u64, total: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / total.max(1) as f64)
}

/// A data set's numbers for programs.
pub(super) fn statistics_document(statistics: &Statistics) -> Json {
    let sizes = |sizes: SizeCounts| {
        let SizeCounts { small, medium, large } = sizes;
        json!({ "small": small, "medium": medium, "large": large })
    };
    let classes = statistics.classes.iter().map(|class| {
        json!({
            "name": class.name,
            "objects": class.objects.total(),
            "sizes": sizes(class.objects),
            "images": class.images,
        })
    });
    json!({
        "images": statistics.images,
        "images_without_objects": statistics.empty_images,
        "objects": statistics.objects.total(),
        "sizes": sizes(statistics.objects),
        "crowds": statistics.crowds,
        "difficult": statistics.difficult,
        "most_objects_in_an_image": statistics.most_objects,
        "classes": classes.collect::<Vec<_>>(),
    })
}

/// The classes of parts beside each other.
pub(super) fn balance(parts: &[(&str, Statistics)]) -> String {
    let number = |name| (name, Align::Right);
    let columns = parts.iter().flat_map(|(name, _)| [number(*name), number("share")]);
    let mut table = Table::new([("class", Align::Left)].into_iter().chain(columns));
    let line = |name: &str, cells: &dyn Fn(&Statistics) -> [String; 2]| {
        let cells = parts.iter().flat_map(|(_, part)| cells(part));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<String>>()
    };
    let classes = parts.first().map(|(_, part)| part.classes.as_slice()).unwrap_or_default();
    for (index, class) in classes.iter().enumerate() {
        let objects = |part: &Statistics| part.classes.get(index).map_or(0, |class| class.objects.total());
        if parts.iter().any(|(_, part)| objects(part) > 0) {
            let cells =
                |part: &Statistics| [count(objects(part)), share(objects(part), part.objects.total())];
            table.row(line(&class.name, &cells));
        }
    }
    table.row(line("all objects", &|part| [count(part.objects.total()), String::new()]));
    let images: u64 = parts.iter().map(|(_, part)| part.images).sum();
    table.row(line("images", &|part| [count(part.images), share(part.images, images)]));
    table.row(line("without objects", &|part| [count(part.empty_images), String::new()]));
    table.to_string()
}

/// What is wrong with a data set, and what is left of it, for people.
pub(super) fn defects_text(loaded: &Loaded) -> Result<String> {
    let mut text = String::new();
    let defects = &loaded.defects;
    let (images, objects) = (loaded.set.images().len() as u64, loaded.set.object_count() as u64);
    writeln!(text, "{} images and {} objects are kept", count(images), count(objects))?;
    if defects.iter().next().is_some() {
        let columns = [("what", Align::Left), ("count", Align::Right), ("effect", Align::Left)];
        let mut table = Table::new(columns);
        for (reason, number, _) in defects.iter() {
            table.row(vec![reason.words().to_owned(), count(number), reason.effect().shown().to_owned()]);
        }
        writeln!(text, "\n{table}")?;
        examples(&mut text, defects)?;
    }
    match defects.total() {
        0 => writeln!(text, "no defects")?,
        1 => writeln!(text, "1 defect")?,
        total => writeln!(text, "{} defects", count(total))?,
    }
    Ok(text)
}

fn examples(text: &mut String, defects: &Defects) -> Result<()> {
    for (reason, number, examples) in defects.iter().filter(|one| one.0.effect() != Effect::Remark) {
        writeln!(text, "{}", reason.words())?;
        for example in examples {
            let separator = if example.detail.is_empty() { "" } else { ": " };
            let line = format!("{}{separator}{}", example.place, example.detail);
            writeln!(text, "  {}", files::printable(&line))?;
        }
        if let more @ 1.. = number - examples.len() as u64 {
            writeln!(text, "  and {} more", count(more))?;
        }
    }
    Ok(())
}

/// What is wrong with a data set, for programs.
pub(super) fn defects_document(defects: &Defects) -> Json {
    let reasons = defects.iter().map(|(reason, number, examples)| {
        let examples = examples.iter().map(|one| json!({ "place": one.place, "detail": one.detail }));
        json!({
            "reason": reason.name(),
            "count": number,
            "effect": reason.effect().shown(),
            "is_defect": reason.effect() != Effect::Remark,
            "examples": examples.collect::<Vec<_>>(),
        })
    });
    json!({ "total": defects.total(), "reasons": reasons.collect::<Vec<_>>() })
}
