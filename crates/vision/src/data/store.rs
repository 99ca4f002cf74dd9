//! Writing a data set in any of the formats.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::set::{DataSet, Image};
use super::{Error, Format, coco, name, voc, yaml, yolo};

/// What becomes of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// They stay where they are; VOC and YOLO, which look for them in a folder of their own, get links there.
    Referenced,
    /// They are copied.
    Copied,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Pictures copied or linked.
    pub pictures: u64,
    /// Pictures that were not there.
    pub missing: u64,
}

/// What a format cannot say, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Ids of images.
    pub ids: u64,
    /// Objects that are crowds, and would no longer be.
    pub crowds: u64,
    /// Objects that are difficult, and would no longer be.
    pub difficult: u64,
    /// Areas that are not the box's.
    pub areas: u64,
}

/// What would be lost in a format.
pub fn losses(set: &DataSet, format: Format) -> Losses {
    let mut losses = Losses::default();
    if format == Format::Coco {
        return losses;
    }
    for image in set.images() {
        losses.ids += u64::from(image.id.is_some());
        for object in &image.objects {
            losses.crowds += u64::from(object.is_crowd);
            losses.difficult += u64::from(object.is_difficult && format == Format::Yolo);
            losses.areas += u64::from(object.area.is_some());
        }
    }
    losses
}

/// Writes the parts of a data set, each with its name, to `output`: a folder that is new or empty, or, for one part in
/// COCO's form, a `.json` file other than `input`. A folder appears whole or not at all. `pictures` is the folder of
/// the pictures, where it is known.
///
/// # Errors
/// The output is there already, the format cannot hold the data set, files cannot be written.
pub fn store(
    parts: &[(String, DataSet)],
    format: Format,
    (pictures, treatment): (Option<&Path>, Pictures),
    input: &Path,
    output: &Path,
) -> Result<Stored, Error> {
    if treatment == Pictures::Copied && pictures.is_none() {
        return Err(Error::NoPictures);
    }
    check(parts, format)?;
    if let (Format::Coco, [(_, set)]) = (format, parts)
        && is_json(output)
    {
        return store_file(set, treatment, input, output);
    }
    let is_empty = |mut entries: std::fs::ReadDir| entries.next().is_none();
    if output.exists() && !std::fs::read_dir(output).is_ok_and(is_empty) {
        return Err(Error::Exists { path: output.to_owned() });
    }
    files::fill_whole(output, |folder| {
        let mut tree = Tree { folder, pictures, treatment, stored: Stored::default() };
        match format {
            Format::Coco => tree.coco(parts)?,
            Format::Voc => tree.voc(parts)?,
            Format::Yolo => tree.yolo(parts)?,
        }
        Ok(tree.stored)
    })
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

fn store_file(set: &DataSet, treatment: Pictures, input: &Path, output: &Path) -> Result<Stored, Error> {
    if treatment == Pictures::Copied {
        return Err(Error::NotAFolder { path: output.to_owned() });
    }
    if files::is_same(input, output) {
        return Err(Error::IsInput { path: output.to_owned() });
    }
    files::write_whole(output, coco::write(set).as_bytes())?;
    Ok(Stored::default())
}

/// Names the file in what the system says.
fn at(file: PathBuf) -> impl FnOnce(std::io::Error) -> Error {
    |problem| Error::Io { file, problem }
}

/// Whether the format can hold the data set: names of one line, a label file for each image.
fn check(parts: &[(String, DataSet)], format: Format) -> Result<(), Error> {
    if format == Format::Coco {
        return Ok(());
    }
    let mut stems = HashSet::new();
    for (_, set) in parts {
        let is_bad = |name: &str| name.is_empty() || name.chars().any(char::is_control);
        if let Some(bad) = set.categories().iter().find(|category| is_bad(&category.name)) {
            return Err(Error::CategoryName { name: bad.name.clone(), format });
        }
        if let Some(image) = set.images().iter().find(|image| !stems.insert(name::stem(&image.file))) {
            return Err(Error::Collision { image: image.file.clone(), format });
        }
    }
    Ok(())
}

/// A folder being filled.
struct Tree<'a> {
    folder: &'a Path,
    pictures: Option<&'a Path>,
    treatment: Pictures,
    stored: Stored,
}

impl Tree<'_> {
    /// `NAME.json` for each part, `images` when copied.
    fn coco(&mut self, parts: &[(String, DataSet)]) -> Result<(), Error> {
        for (name, set) in parts {
            self.file(&format!("{name}.json"), &coco::write(set))?;
            if self.treatment == Pictures::Copied {
                set.images().iter().try_for_each(|image| self.picture("images", image))?;
            }
        }
        Ok(())
    }

    /// The devkit's folders, and `classes.txt` for the order of the classes.
    fn voc(&mut self, parts: &[(String, DataSet)]) -> Result<(), Error> {
        // A data set without images has the folder all the same: it is known by it.
        self.make(&self.folder.join("Annotations"))?;
        for (name, set) in parts {
            let mut listed = String::new();
            for image in set.images() {
                let stem = name::stem(&image.file);
                self.file(&format!("Annotations/{stem}.xml"), &voc::write(set, image))?;
                self.picture("JPEGImages", image)?;
                listed.push_str(&format!("{stem}\n"));
            }
            self.file(&format!("ImageSets/Main/{name}.txt"), &listed)?;
        }
        self.file("classes.txt", &lines(&names(parts)))
    }

    /// `images/NAME` and `labels/NAME` for each part, `classes.txt` and `data.yaml`.
    fn yolo(&mut self, parts: &[(String, DataSet)]) -> Result<(), Error> {
        let mut splits = Vec::new();
        for (name, set) in parts {
            let (images, labels) = (format!("images/{name}"), format!("labels/{name}"));
            self.make(&self.folder.join(&images))?;
            self.make(&self.folder.join(&labels))?;
            for image in set.images() {
                let stem = name::stem(&image.file);
                self.file(&format!("{labels}/{stem}.txt"), &yolo::write(image))?;
                self.picture(&images, image)?;
            }
            let key = yaml::SPLITS.into_iter().find(|key| key == name);
            splits.extend(
                key.or_else(|| yaml::SPLITS.into_iter().next().filter(|_| parts.len() == 1))
                    .map(|key| (key, images)),
            );
        }
        let names = names(parts);
        self.file("classes.txt", &lines(&names))?;
        self.file("data.yaml", &yaml::write(&splits, &names))
    }

    fn file(&self, name: &str, content: &str) -> Result<(), Error> {
        let file = self.folder.join(name);
        self.make(file.parent().unwrap_or(self.folder))?;
        std::fs::write(&file, content).map_err(at(file))
    }

    fn make(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(at(folder.to_owned()))
    }

    /// Copies or links an image's picture into a folder.
    fn picture(&mut self, folder: &str, image: &Image) -> Result<(), Error> {
        let Some(pictures) = self.pictures else { return Ok(()) };
        let Ok(source) = pictures.join(&image.file).canonicalize() else {
            self.stored.missing += 1;
            return Ok(());
        };
        let target = self.folder.join(folder).join(&image.file);
        self.make(target.parent().unwrap_or(self.folder))?;
        match self.treatment {
            Pictures::Copied => std::fs::copy(&source, &target).map(drop),
            Pictures::Referenced => link(&source, &target),
        }
        .map_err(at(target))?;
        self.stored.pictures += 1;
        Ok(())
    }
}

/// Windows asks for a right to make links that few have; there `--copy-images` does.
fn link(source: &Path, target: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::symlink(source, target);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_file(source, target);
}

/// The names of the categories, which all parts share.
fn names(parts: &[(String, DataSet)]) -> Vec<&str> {
    let categories = parts.first().map(|(_, set)| set.categories()).unwrap_or_default();
    categories.iter().map(|category| category.name.as_str()).collect()
}

fn lines(names: &[&str]) -> String {
    names.iter().map(|name| format!("{name}\n")).collect()
}
