//! What is evaluated: objects and detections by class, in VOC's coordinates.

use crate::eval::{self, Detections, GroundTruth};

/// The classes of a data set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// In the order in which they are shown.
    pub classes: Vec<Class>,
}

/// A class with its objects and what was taken for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its objects.
    pub objects: Vec<Object>,
    /// Its detections; of equal scores the earlier counts first.
    pub detections: Vec<Detection>,
}

/// An object in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Number of its image.
    pub image: u32,
    /// Left, top, right, bottom: the first and last pixels that belong to it.
    pub corners: [f64; 4],
    /// It need not be found.
    pub is_difficult: bool,
}

/// A detection in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Number of its image.
    pub image: u32,
    /// As of an object.
    pub corners: [f64; 4],
    /// The larger, the surer.
    pub score: f64,
}

impl Scene {
    /// COCO's objects and detections. Crowds are difficult.
    pub fn of_coco(truth: &GroundTruth, detections: &Detections) -> Scene {
        let mut scene = Scene::of_ground_truth(truth);
        scene.add(&detections.entries);
        scene
    }

    /// COCO's objects, with a class for each category. Crowds are difficult.
    pub fn of_ground_truth(truth: &GroundTruth) -> Scene {
        let class = |name: String| Class { name, ..Class::default() };
        let mut classes: Vec<Class> =
            truth.categories().iter().map(|category| class(category.shown())).collect();
        for object in &truth.objects {
            if let Some(class) = classes.get_mut(object.category as usize) {
                class.objects.push(Object {
                    image: object.image,
                    corners: inclusive(object.bbox),
                    is_difficult: object.is_difficult || object.is_crowd,
                });
            }
        }
        Scene { classes }
    }

    /// Adds the detections of a class, a new one where none has its name.
    pub(super) fn add_class(&mut self, name: String, detections: Vec<Detection>) {
        match self.classes.iter_mut().find(|class| class.name == name) {
            Some(class) => class.detections.extend(detections),
            None => self.classes.push(Class { name, detections, ..Class::default() }),
        }
    }

    /// Adds detections whose categories are the indices of the classes.
    pub fn add(&mut self, detections: &[eval::Detection]) {
        for one in detections {
            if let Some(class) = self.classes.get_mut(one.category as usize) {
                let corners = inclusive(one.bbox);
                class.detections.push(Detection { image: one.image, corners, score: one.score });
            }
        }
    }
}

/// COCO's box as VOC's: the first pixel is 1, not 0, and the last belongs to the box, so that widths stay what they
/// are.
fn inclusive([left, top, width, height]: [f64; 4]) -> [f64; 4] {
    [left + 1.0, top + 1.0, left + width, top + height]
}
