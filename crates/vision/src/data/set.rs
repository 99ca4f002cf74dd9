//! The data set in memory: images with their objects, whatever file they came from.

use crate::boxes::Bounds;
use crate::pictures::PictureSize;

/// Images and the categories of what is on them.
///
/// Images are in the order of their file names (byte by byte), objects in that of their file, categories in that of
/// the classes: their ids in COCO, the lines of a list of names, else the alphabet.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    categories: Vec<Category>,
    images: Vec<Image>,
}

/// What objects can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// The name, without space around it.
    pub name: String,
    /// The id in the file, where it had one.
    pub id: Option<u64>,
}

/// A picture and what is on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Path in the folder of pictures, with `/` between its parts.
    pub file: String,
    /// Its size, upright.
    pub size: PictureSize,
    /// The id in the file, where it had one.
    pub id: Option<u64>,
    /// What is on it.
    pub objects: Vec<Object>,
}

/// Something in a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The index of its category.
    pub category: usize,
    /// Where it is.
    pub bounds: Bounds,
    /// Whether it is a crowd of such things (COCO): detections in it are neither right nor wrong.
    pub is_crowd: bool,
    /// Whether it is hard to recognise (VOC): neither asked for nor counted.
    pub is_difficult: bool,
    /// Its area in square pixels where that is not the box's: COCO measures the outline.
    pub area: Option<f64>,
}

impl Object {
    /// An object that nothing more is known of.
    pub fn new(category: usize, bounds: Bounds) -> Object {
        Object { category, bounds, is_crowd: false, is_difficult: false, area: None }
    }

    /// The area that sizes are judged by, in square pixels: as stated, else the box's.
    pub fn area(&self) -> f64 {
        self.area.unwrap_or_else(|| self.bounds.area())
    }
}

impl DataSet {
    /// A data set of these; the images are put in order.
    pub fn new(categories: Vec<Category>, mut images: Vec<Image>) -> DataSet {
        images.sort_by(|one, other| one.file.cmp(&other.file));
        DataSet { categories, images }
    }

    /// The categories in the order of their indices.
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The images in the order of their file names.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// The name of a category.
    pub fn category_name(&self, category: usize) -> &str {
        self.categories.get(category).map_or("?", |category| &category.name)
    }

    /// The number of objects.
    pub fn object_count(&self) -> usize {
        self.images.iter().map(|image| image.objects.len()).sum()
    }

    /// A data set of some of the images.
    pub fn part(&self, keeps: impl Fn(usize) -> bool) -> DataSet {
        let kept = self.images.iter().enumerate().filter(|(index, _)| keeps(*index));
        DataSet {
            categories: self.categories.clone(),
            images: kept.map(|(_, image)| image.clone()).collect(),
        }
    }

    /// What all formats can say: no ids, crowds, difficulties or outlines, and the categories that occur, in
    /// alphabetical order. Two files of the same boxes are equal in this form, whatever their formats.
    pub fn essence(&self) -> DataSet {
        let is_used = self.used_categories();
        let used = is_used.iter().enumerate().filter(|(_, is_used)| **is_used);
        let mut names: Vec<&str> = used.map(|(index, _)| self.category_name(index)).collect();
        names.sort_unstable();
        let index = |category| {
            let name = self.category_name(category);
            names.iter().position(|other| *other == name).unwrap_or(usize::MAX)
        };
        let images = self.images.iter().map(|image| Image {
            id: None,
            file: image.file.clone(),
            size: image.size,
            objects: image.objects.iter().map(|one| Object::new(index(one.category), one.bounds)).collect(),
        });
        let images = images.collect();
        let categories = names.iter().map(|&name| Category { name: name.to_owned(), id: None }).collect();
        DataSet { categories, images }
    }

    fn used_categories(&self) -> Vec<bool> {
        let mut is_used = vec![false; self.categories.len()];
        for object in self.images.iter().flat_map(|image| &image.objects) {
            if let Some(is_used) = is_used.get_mut(object.category) {
                *is_used = true;
            }
        }
        is_used
    }
}
