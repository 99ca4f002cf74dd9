//! What is in a data set, counted.

use super::set::{DataSet, Object};

/// Objects of a smaller area are small, in square pixels (COCO's `areaRng`).
pub const SMALL: f64 = 32.0 * 32.0;
/// Objects of a larger area are large, in square pixels (COCO's `areaRng`).
pub const LARGE: f64 = 96.0 * 96.0;

/// Objects by size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeCounts {
    /// Of an area below [`SMALL`].
    pub small: u64,
    /// Between.
    pub medium: u64,
    /// Of an area above [`LARGE`].
    pub large: u64,
}

impl SizeCounts {
    /// All of them.
    pub fn total(self) -> u64 {
        self.small + self.medium + self.large
    }

    fn add(&mut self, object: &Object) {
        match object.area() {
            area if area < SMALL => self.small += 1,
            area if area > LARGE => self.large += 1,
            _ => self.medium += 1,
        }
    }
}

/// A category's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// The name.
    pub name: String,
    /// The objects.
    pub objects: SizeCounts,
    /// Images with one or more.
    pub images: u64,
}

/// The numbers of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Images.
    pub images: u64,
    /// Images without objects.
    pub empty_images: u64,
    /// Objects of all categories.
    pub objects: SizeCounts,
    /// Crowds among them.
    pub crowds: u64,
    /// Difficult ones among them.
    pub difficult: u64,
    /// The most objects in an image.
    pub most_objects: u64,
    /// Each category's, in their order.
    pub classes: Vec<ClassCounts>,
}

impl Statistics {
    /// The numbers of a data set.
    pub fn of(set: &DataSet) -> Statistics {
        let class = |name: &String| ClassCounts { name: name.clone(), ..ClassCounts::default() };
        let classes = set.categories().iter().map(|category| class(&category.name)).collect();
        let mut statistics = Statistics { classes, ..Statistics::default() };
        for image in set.images() {
            statistics.add(&image.objects);
        }
        statistics
    }

    fn add(&mut self, objects: &[Object]) {
        self.images += 1;
        self.empty_images += u64::from(objects.is_empty());
        self.most_objects = self.most_objects.max(objects.len() as u64);
        for (index, object) in objects.iter().enumerate() {
            self.objects.add(object);
            self.crowds += u64::from(object.is_crowd);
            self.difficult += u64::from(object.is_difficult);
            let is_first = !objects.iter().take(index).any(|other| other.category == object.category);
            if let Some(class) = self.classes.get_mut(object.category) {
                class.objects.add(object);
                class.images += u64::from(is_first);
            }
        }
    }
}
