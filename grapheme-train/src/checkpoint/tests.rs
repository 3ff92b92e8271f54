use super::*;
use grapheme_core::param_tree;
use ndarray::{Array, Array0, Array1, Array2, Dimension};
use std::fs;
use tempfile::{TempDir, tempdir};

#[derive(Clone, Debug, PartialEq)]
struct Layer<S> {
    weight: Array2<S>,
    bias: Array1<S>,
}

#[derive(Clone, Debug, PartialEq)]
struct Model<S> {
    layers: Vec<Layer<S>>,
    threshold: Array0<S>,
    empty: Array2<S>,
    void: Array1<S>,
}

param_tree!(Layer { weight, bias });
param_tree!(Model { layers, threshold, empty, void });

/// Values that use every bit of their type, with the extremes of it.
fn model<S: Scalar>(rows: usize) -> Model<S> {
    let layer = |k: usize| Layer {
        weight: Array2::from_shape_fn((rows, 3), |(i, j)| S::lit((i * 3 + j + k) as f64).sin()),
        bias: Array1::from_vec(vec![S::max_value(), -S::min_positive_value(), S::lit(-0.0), S::epsilon()]),
    };
    let (layers, threshold) = (vec![layer(0), layer(1)], Array0::from_elem((), S::lit(1.0 / 3.0)));
    Model { layers, threshold, empty: Array2::zeros((0, 3)), void: Array1::zeros(0) }
}

fn zeros<S: Scalar>(rows: usize) -> Model<S> {
    grapheme_core::param::zeros_like(&model(rows))
}

fn saved<S: Scalar>(prefix: &str, model: &Model<S>) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut checkpoint = Checkpoint::new(&path);
    checkpoint.insert(prefix, model).unwrap();
    checkpoint.note("epoch", 3);
    checkpoint.save().unwrap();
    (folder, path)
}

/// Reads `path` into a model of `rows` rows, expects to be refused and the model to stay as it was.
fn refused(path: &Path, prefix: &str, rows: usize) -> CheckpointError {
    let mut tree = zeros::<f32>(rows);
    let error = Checkpoint::open(path).and_then(|checkpoint| checkpoint.read_into(prefix, &mut tree)).unwrap_err();
    assert_eq!(tree, zeros(rows), "a refused checkpoint has written into the model");
    let message = error.to_string();
    assert!(message.contains("state.safetensors"), "{message}");
    error
}

fn bits_return<S: Scalar>(prefix: &str) {
    let (_folder, path) = saved::<S>(prefix, &model(2));
    let mut loaded = zeros::<S>(2);
    Checkpoint::open(&path).unwrap().read_into(prefix, &mut loaded).unwrap();
    assert_eq!(loaded, model(2));
    assert!(loaded.layers[0].bias[2].is_sign_negative(), "the sign of zero is lost");
}

#[test]
fn every_bit_returns_in_both_types_under_any_prefix() {
    bits_return::<f32>("");
    bits_return::<f32>("adam.m");
    bits_return::<f64>("");
    bits_return::<f64>("model");
}

#[test]
fn a_single_array_stands_under_its_prefix() {
    let folder = tempdir().unwrap();
    let mut checkpoint = Checkpoint::new(folder.path().join("state.safetensors"));
    checkpoint.insert("a", &Array1::<f32>::ones(2)).unwrap();
    checkpoint.insert("ab", &model::<f64>(1)).unwrap();
    let mut array = Array1::<f32>::zeros(2);
    checkpoint.read_into("a", &mut array).unwrap();
    assert_eq!(array, Array1::<f32>::ones(2));
    assert_eq!(checkpoint.names().next(), Some("a"));
}

#[test]
fn keys_are_field_paths_and_other_programs_can_read_them() {
    let (_folder, path) = saved::<f32>("", &model(2));
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let bias = tensors.tensor("layers.1.bias").unwrap();
    assert_eq!((bias.dtype(), bias.shape()), (Dtype::F32, &[4][..]));
    assert_eq!(bias.data()[..4], f32::MAX.to_le_bytes());
}

#[test]
fn the_same_state_gives_the_same_bytes_whatever_the_order_of_insertion() {
    let folder = tempdir().unwrap();
    let write = |name: &str, prefixes: [&str; 2], keys: [&str; 3]| {
        let path = folder.path().join(name);
        let mut checkpoint = Checkpoint::new(&path);
        prefixes.iter().for_each(|prefix| checkpoint.insert(prefix, &model::<f32>(2)).unwrap());
        keys.iter().for_each(|key| checkpoint.note(key, key.len()));
        checkpoint.save().unwrap();
        fs::read(path).unwrap()
    };
    let first = write("a", ["model", "average"], ["epoch", "steps", "metrics"]);
    for i in 0..20 {
        assert_eq!(write(&format!("b{i}"), ["average", "model"], ["metrics", "epoch", "steps"]), first);
    }
}

#[test]
fn notes_return_and_a_bad_one_is_named() {
    let (_folder, path) = saved::<f32>("", &model(1));
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!(checkpoint.noted::<u64>("epoch").unwrap(), 3);
    let missing = checkpoint.noted::<u64>("steps").unwrap_err().to_string();
    assert!(missing.contains("`steps`") && missing.contains("None"), "{missing}");
    let unreadable = checkpoint.noted::<bool>("epoch").unwrap_err().to_string();
    assert!(unreadable.contains("bool") && unreadable.contains("\"3\""), "{unreadable}");
}

#[test]
fn a_checkpoint_of_another_model_is_refused_by_parameter() {
    let (_folder, path) = saved::<f32>("model", &model(2));
    match refused(&path, "model", 3) {
        CheckpointError::Shape { parameter, expected, found, .. } => {
            assert_eq!((&parameter[..], expected, found), ("model.layers.0.weight", vec![3, 3], vec![2, 3]));
        }
        other => panic!("{other}"),
    }
    match refused(&path, "average", 2) {
        CheckpointError::Missing { parameter, expected, .. } => {
            assert_eq!((&parameter[..], expected), ("average.layers.0.weight", vec![2, 3]));
        }
        other => panic!("{other}"),
    }
    let mut shorter = zeros::<f32>(2);
    shorter.layers.pop();
    match Checkpoint::open(&path).unwrap().read_into("model", &mut shorter).unwrap_err() {
        CheckpointError::Extra { parameter, shape, .. } => {
            assert_eq!((&parameter[..], shape), ("model.layers.1.bias", vec![4]));
        }
        other => panic!("{other}"),
    }
    let (_folder, wide) = saved::<f64>("", &model(2));
    match refused(&wide, "", 2) {
        CheckpointError::Type { parameter, expected, found, .. } => {
            assert_eq!((&parameter[..], &expected[..], &found[..]), ("layers.0.weight", "F32", "F64"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_value_that_is_not_finite_is_found_on_both_ways() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut broken = model::<f32>(2);
        broken.layers[1].weight[[1, 2]] = bad;
        let mut checkpoint = Checkpoint::new("state.safetensors");
        let named = |error: CheckpointError| match error {
            CheckpointError::NotFinite { parameter, index, .. } => (parameter, index),
            other => panic!("{other}"),
        };
        let place = ("layers.1.weight".to_owned(), 5);
        assert_eq!(named(checkpoint.insert("", &broken).unwrap_err()), place);

        // In the file 1/3, the only value of its kind, is damaged.
        let (_folder, path) = saved::<f32>("", &model(2));
        let mut bytes = fs::read(&path).unwrap();
        let third = (1.0_f32 / 3.0).to_le_bytes();
        let at = bytes.windows(4).position(|window| window == third).unwrap();
        bytes[at..at + 4].copy_from_slice(&bad.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        assert_eq!(named(refused(&path, "", 2)), ("threshold".to_owned(), 0));
    }
}

#[test]
fn a_name_can_be_used_once() {
    let mut checkpoint = Checkpoint::new("state.safetensors");
    checkpoint.insert("m", &model::<f32>(1)).unwrap();
    let error = checkpoint.insert("m", &model::<f32>(1)).unwrap_err();
    assert!(matches!(&error, CheckpointError::Taken { parameter, .. } if parameter == "m.layers.0.weight"), "{error}");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let (_folder, path) = saved::<f32>("", &model(2));
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refused(&path, "", 2);
        assert!(matches!(error, CheckpointError::Format { bytes, .. } if bytes == length), "{length}: {error}");
    }
}

#[test]
fn a_header_that_lies_costs_no_memory_and_is_refused() {
    let (_folder, path) = saved::<f32>("", &model(2));
    let file_of = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    let entry = |shape: &str, offsets: &str| {
        file_of(&format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#))
    };
    for bytes in [
        Vec::new(),
        vec![0xff; 64],
        b"just a text of some length".to_vec(),
        file_of("[]"),
        file_of("{\"w\":7}"),
        file_of(r#"{"__metadata__":{"grapheme":"no JSON"}}"#),
        entry("[1000000000000]", "[0,4000000000000]"),
        entry("[18446744073709551615,2]", "[0,8]"),
        entry("[4294967296,4294967296]", "[0,0]"),
        entry("[2]", "[8,0]"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = refused(&path, "", 2);
        assert!(matches!(error, CheckpointError::Format { .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_cure() {
    let folder = tempdir().unwrap();
    let error = refused(&folder.path().join("state.safetensors"), "", 2);
    assert!(error.to_string().contains("check the path"), "{error}");
}

#[test]
fn what_cannot_be_written_leaves_the_previous_checkpoint_intact() {
    let (folder, path) = saved::<f32>("", &model(2));
    let before = fs::read(&path).unwrap();
    // A folder stands where the temporary file should be written.
    fs::create_dir(folder.path().join(".state.safetensors.tmp")).unwrap();
    let mut checkpoint = Checkpoint::new(&path);
    checkpoint.insert("", &model::<f32>(1)).unwrap();
    let error = checkpoint.save().unwrap_err();
    assert!(matches!(error, CheckpointError::File(_)), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Any array is a tree, so shapes of every number of axes pass the same way.
#[test]
fn shapes_of_many_axes_return() {
    fn pass<D: Dimension>(array: Array<f64, D>) {
        let mut checkpoint = Checkpoint::new("state.safetensors");
        checkpoint.insert("x", &array).unwrap();
        let mut back = Array::<f64, D>::zeros(array.raw_dim());
        checkpoint.read_into("x", &mut back).unwrap();
        assert_eq!(array, back);
    }
    pass(Array::from_shape_fn((2, 3, 4), |(i, j, k)| (i * 12 + j * 4 + k) as f64));
    pass(Array::from_shape_fn((1, 1, 2, 1, 3), |(_, _, k, _, m)| (k * 3 + m) as f64));
}

#[test]
fn values_return_to_the_same_bits_with_their_lists_as_tensors() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let wave = Array2::from_shape_fn((3, 7), |(i, j)| ((i * 7 + j) as f64).sin() / 3.0);
    let value = (Some(wave), vec![vec![0.5, f64::MIN_POSITIVE]; 2], [7_u64; 40], vec![-0.0_f32; 20], "text".to_owned());
    type Kept = (Option<Array2<f64>>, Vec<Vec<f64>>, Vec<u64>, Vec<f32>, String);
    let mut checkpoint = Checkpoint::new(&path);
    checkpoint.insert_value("kept", &(&value.0, &value.1, &value.2[..], &value.3, &value.4)).unwrap();
    checkpoint.save().unwrap();
    let read = Checkpoint::open(&path).unwrap();
    assert_eq!(read.names().collect::<Vec<_>>(), ["kept.0.data", "kept.3"]);
    let found: Kept = read.read_value("kept").unwrap();
    assert_eq!(
        (&found.0, &found.1, &found.2[..], &found.3, &found.4),
        (&value.0, &value.1, &value.2[..], &value.3, &value.4)
    );
    assert!(found.3.iter().all(|x| x.is_sign_negative()));

    for (refused, part) in [
        (read.read_value::<Kept>("other").unwrap_err(), "note `other`"),
        (read.read_value::<Vec<u64>>("kept").unwrap_err(), "`kept` cannot be used"),
    ] {
        let message = refused.to_string();
        assert!(message.contains("state.safetensors") && message.contains(part), "{message}");
    }
    let mut checkpoint = Checkpoint::new(&path);
    checkpoint.note("kept", r#"[{"tensor":"gone"}]"#);
    let message = checkpoint.read_value::<Vec<Vec<f64>>>("kept").unwrap_err().to_string();
    assert!(message.contains("`gone`") && message.contains("missing"), "{message}");
    let message = checkpoint.insert_value("bad", &vec![f64::MAX * 10.0; 20]).and_then(|()| checkpoint.save());
    assert!(message.is_ok(), "what is not finite is null in JSON");
    assert!(checkpoint.read_value::<Vec<f64>>("bad").is_err());
}
