//! What is evaluated: the objects in a data set's images, and detections.

use std::collections::{BTreeMap, HashMap};

use super::Id;

/// The objects of a data set, each in an image and of a category.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroundTruth {
    images: Vec<Image>,
    categories: Vec<Category>,
    image_indices: HashMap<Id, u32>,
    category_indices: HashMap<Id, u32>,
    /// The objects in the order of the file; their indices are valid.
    pub objects: Vec<Object>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: Id,
    /// Its file, where the annotations name it.
    pub file_name: Option<String>,
}

/// A category of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Its id.
    pub id: Id,
    /// Its name.
    pub name: String,
}

impl Category {
    /// The name, or the id where there is none.
    pub fn shown(&self) -> String {
        if self.name.is_empty() { self.id.to_string() } else { self.name.clone() }
    }
}

/// An object that was annotated.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The annotation's id, if it has one; only [`super::Rules::Pycocotools`] looks at it.
    pub id: Option<Id>,
    /// Index of its image.
    pub image: u32,
    /// Index of its category.
    pub category: u32,
    /// Left, top, width, height in pixels.
    pub bbox: [f64; 4],
    /// What decides whether it is small, medium or large: in COCO the area of the segmentation, in square pixels.
    pub area: f64,
    /// A crowd: matched by any number of detections, none of which count.
    pub is_crowd: bool,
    /// An object that need not be found (VOC).
    pub is_difficult: bool,
}

/// A box that a detector reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Index of its image.
    pub image: u32,
    /// Index of its category.
    pub category: u32,
    /// Left, top, width, height in pixels.
    pub bbox: [f64; 4],
    /// The larger, the surer.
    pub score: f64,
}

/// Detections in the order of their file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detections {
    /// Those of known images and categories.
    pub entries: Vec<Detection>,
    /// How many there are of each category that the ground truth does not have.
    pub unknown_categories: BTreeMap<Id, usize>,
    /// How many have a negative width or height.
    pub negative_sizes: usize,
}

impl Detections {
    /// All that were reported, of known categories or not.
    pub fn total(&self) -> usize {
        self.entries.len() + self.unknown_categories.values().sum::<usize>()
    }
}

impl GroundTruth {
    /// A data set of these images and categories, without objects. Repeated ids count once.
    pub fn new(images: Vec<Image>, categories: Vec<Category>) -> GroundTruth {
        // As in a dictionary, the last of several entries stays.
        let files: BTreeMap<Id, Option<String>> =
            images.into_iter().map(|one| (one.id, one.file_name)).collect();
        let images: Vec<Image> = files.into_iter().map(|(id, file_name)| Image { id, file_name }).collect();
        let names: BTreeMap<Id, String> = categories.into_iter().map(|one| (one.id, one.name)).collect();
        let categories: Vec<Category> = names.into_iter().map(|(id, name)| Category { id, name }).collect();
        GroundTruth {
            image_indices: indices(images.iter().map(|image| &image.id)),
            category_indices: indices(categories.iter().map(|category| &category.id)),
            images,
            categories,
            objects: Vec::new(),
        }
    }

    /// The images, ascending by id.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The categories, ascending by id.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// Where the image of this id stands in [`GroundTruth::images`].
    pub fn image_index(&self, id: &Id) -> Option<u32> {
        self.image_indices.get(id).copied()
    }

    /// Where the category of this id stands in [`GroundTruth::categories`].
    pub fn category_index(&self, id: &Id) -> Option<u32> {
        self.category_indices.get(id).copied()
    }
}

fn indices<'a>(ids: impl Iterator<Item = &'a Id>) -> HashMap<Id, u32> {
    ids.cloned().zip(0..).collect()
}
