//! Maps of cells as pictures: one moment in a row of four panels.

use grapheme_optics::field::charge::Breakdown;
use grapheme_optics::field::fronts::Segment;
use grapheme_optics::spectral::predictor::WormholeLink;
use ndarray::Array2;
use png::{BitDepth, ColorType, Encoder, EncodingError};

/// What is drawn of one frame.
#[derive(Clone, Debug)]
pub struct Moment {
    /// What came, 0 to 1.
    pub frame: Array2<f64>,
    /// What was expected, 0 to 1.
    pub prediction: Array2<f64>,
    /// Absolute error in units of the largest of all moments.
    pub error: Array2<f64>,
    /// An isoline of the error.
    pub front: Vec<Segment>,
    /// Stored error; 1 and more is as bright as it gets.
    pub stored: Array2<f64>,
    /// What broke down.
    pub broken: Vec<Breakdown>,
    /// Links that the prediction read, the heaviest first.
    pub links: Vec<WormholeLink>,
}

type Colour = [u8; 3];

const GROUND: Colour = [255, 255, 255];
const FRONT: Colour = [86, 180, 233];
const EVENT: Colour = [0, 158, 115];
const LINK: Colour = [230, 159, 0];
/// Width of a panel in pixels, at least; cells are whole pixels.
const PANEL: usize = 192;
const GAP: usize = 6;
/// Rows of the sheet.
const ROWS: usize = 8;
/// Links drawn, the heaviest.
const LINKS: usize = 12;
/// Hundredths of a second that a frame stays.
const DELAY: u16 = 10;

/// A picture of rows of pixels.
struct Canvas {
    width: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, pixels: vec![GROUND; width * height] }
    }

    /// Sets a pixel, if there is one.
    fn put(&mut self, row: usize, column: usize, colour: Colour) {
        if column < self.width
            && let Some(pixel) = self.pixels.get_mut(row * self.width + column)
        {
            *pixel = colour;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.pixels.iter().flatten().copied().collect()
    }
}

/// Where cells of one panel are on a canvas.
#[derive(Clone, Copy)]
struct Panel {
    top: usize,
    left: usize,
    /// Pixels a cell.
    scale: usize,
    /// Rows and columns.
    shape: [usize; 2],
}

impl Panel {
    fn fill(self, canvas: &mut Canvas, map: &Array2<f64>, colour: impl Fn(f64) -> Colour) {
        for ((i, j), &value) in map.indexed_iter() {
            let colour = colour(value.clamp(0.0, 1.0));
            for row in 0..self.scale {
                for column in 0..self.scale {
                    canvas.put(self.top + i * self.scale + row, self.left + j * self.scale + column, colour);
                }
            }
        }
    }

    /// A line between two places, given in cells; what lies outside the panel is left out.
    fn line(self, canvas: &mut Canvas, [a, b]: [[f64; 2]; 2], colour: Colour) {
        let scale = self.scale as f64;
        let at = |cell: f64| (cell + 0.5) * scale;
        let (from, to) = (a.map(at), b.map(at));
        let points = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).ceil().max(1.0);
        for k in 0..=points as usize {
            let part = k as f64 / points;
            let [row, column] = [0, 1].map(|axis| from[axis] + part * (to[axis] - from[axis]));
            let inside = |x: f64, cells: usize| x >= 0.0 && x < (cells * self.scale) as f64;
            if inside(row, self.shape[0]) && inside(column, self.shape[1]) {
                canvas.put(self.top + row as usize, self.left + column as usize, colour);
            }
        }
    }

    fn circle(self, canvas: &mut Canvas, [row, column]: [f64; 2], radius: f64, colour: Colour) {
        const SIDES: usize = 24;
        let corner = |k: usize| {
            let angle = std::f64::consts::TAU * k as f64 / SIDES as f64;
            [row + radius * angle.sin(), column + radius * angle.cos()]
        };
        (0..SIDES).for_each(|k| self.line(canvas, [corner(k), corner(k + 1)], colour));
    }
}

fn grey(x: f64) -> Colour {
    [(x * 255.0).round() as u8; 3]
}

/// From black over red and yellow to white, ever lighter, so that it also reads without colours.
fn heat(x: f64) -> Colour {
    [0.0, 1.0, 2.0].map(|start| ((3.0 * x - start).clamp(0.0, 1.0) * 255.0).round() as u8)
}

/// Pixels a cell, and the size of one moment.
fn sizes(moment: &Moment) -> (usize, [usize; 2]) {
    let (h, w) = moment.frame.dim();
    let scale = PANEL.div_ceil(w.max(1)).max(1);
    (scale, [h * scale, 4 * w * scale + 3 * GAP])
}

fn draw(canvas: &mut Canvas, top: usize, moment: &Moment) {
    let (scale, _) = sizes(moment);
    let (h, w) = moment.frame.dim();
    let panel = |k: usize| Panel { top, left: k * (w * scale + GAP), scale, shape: [h, w] };
    panel(0).fill(canvas, &moment.frame, grey);
    for link in moment.links.iter().take(LINKS).filter(|link| link.weight > 0.0) {
        panel(0).line(canvas, [link.from, link.to].map(|place| place.map(|cell| cell as f64)), LINK);
    }
    panel(1).fill(canvas, &moment.prediction, grey);
    // The root, or one surprise would leave all other errors black.
    panel(2).fill(canvas, &moment.error, |error| heat(error.sqrt()));
    moment.front.iter().for_each(|&segment| panel(2).line(canvas, segment, FRONT));
    panel(3).fill(canvas, &moment.stored, heat);
    for event in &moment.broken {
        // As large as a disc of so many cells, and never too small to see.
        let radius = (event.size as f64 / std::f64::consts::PI).sqrt().max(1.5);
        panel(3).circle(canvas, event.place, radius, EVENT);
    }
}

/// Eight moments, evenly spread over all, one below the other.
///
/// # Errors
/// [`EncodingError`] if there is no moment.
pub fn sheet(moments: &[Moment]) -> Result<Vec<u8>, EncodingError> {
    let rows = ROWS.min(moments.len());
    let [height, width] = moments.first().map_or([0, 0], |moment| sizes(moment).1);
    let mut canvas = Canvas::new(width, (rows * (height + GAP)).saturating_sub(GAP));
    for row in 0..rows {
        draw(&mut canvas, row * (height + GAP), &moments[row * (moments.len() - 1) / (rows - 1).max(1)]);
    }
    let size = [canvas.pixels.len() / width.max(1), width];
    encode(size, 1, |image| image(&canvas.bytes()))
}

/// All moments as an animated PNG that plays for ever.
///
/// # Errors
/// [`EncodingError`] if there is no moment.
pub fn animation(moments: &[Moment]) -> Result<Vec<u8>, EncodingError> {
    let [height, width] = moments.first().map_or([0, 0], |moment| sizes(moment).1);
    encode([height, width], moments.len(), |image| {
        moments.iter().try_for_each(|moment| {
            let mut canvas = Canvas::new(width, height);
            draw(&mut canvas, 0, moment);
            image(&canvas.bytes())
        })
    })
}

/// Encodes so many images, which `images` hands over one by one.
fn encode(
    [height, width]: [usize; 2],
    count: usize,
    images: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), EncodingError>) -> Result<(), EncodingError>,
) -> Result<Vec<u8>, EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    if count > 1 {
        encoder.set_animated(count as u32, 0)?;
        encoder.set_frame_delay(DELAY, 100)?;
    }
    let mut writer = encoder.write_header()?;
    images(&mut |image| writer.write_image_data(image))?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        let map = Array2::from_shape_fn((3, 4), |(i, j)| (4 * i + j) as f64 / 11.0);
        let front = vec![[[0.0, 0.0], [2.0, 3.0]]];
        let broken = vec![Breakdown { step: 1, place: [2.9, 3.9], size: 9, released: 1.0 }];
        let links = vec![WormholeLink { from: [0, 3], to: [2, 0], age: 1, weight: 0.5 }];
        Moment { frame: map.clone(), prediction: map.clone(), error: map.clone(), front, stored: map, broken, links }
    }

    #[test]
    fn an_animation_has_every_moment_and_the_sheet_at_most_eight() {
        let moments = vec![moment(); 11];
        let decode = |bytes: &[u8]| {
            let reader = png::Decoder::new(std::io::Cursor::new(bytes.to_vec())).read_info().unwrap();
            let info = reader.info();
            (info.width as usize, info.height as usize, info.animation_control().map(|control| control.num_frames))
        };
        let (scale, [height, width]) = sizes(&moments[0]);
        assert_eq!((scale, height, width), (48, 144, 786));
        assert_eq!(decode(&animation(&moments).unwrap()), (786, 144, Some(11)));
        assert_eq!(decode(&sheet(&moments).unwrap()), (786, 8 * 144 + 7 * GAP, None));
        assert_eq!(decode(&sheet(&moments[..1]).unwrap()), (786, 144, None));
        assert!(sheet(&[]).is_err() && animation(&[]).is_err());
    }

    #[test]
    fn cells_have_their_colour_and_what_is_drawn_stays_in_its_panel() {
        let mut canvas = Canvas::new(786, 144);
        draw(&mut canvas, 0, &moment());
        let at = |row: usize, column: usize| canvas.pixels[row * 786 + column];
        // Cell (1, 1) of the prediction, 5 / 11 of white.
        assert_eq!(at(60, 198 + 60), [116; 3]);
        assert_eq!(at(0, 193), GROUND);
        assert!(canvas.pixels.contains(&FRONT) && canvas.pixels.contains(&EVENT) && canvas.pixels.contains(&LINK));
        assert!((0..144).all(|row| (192..198).chain(390..396).chain(588..594).all(|column| at(row, column) == GROUND)));
        assert_eq!((heat(0.0), heat(1.0), grey(1.0)), ([0; 3], [255; 3], [255; 3]));
    }
}
