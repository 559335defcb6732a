use crate::{
    schema::{Kind, MAIN, visit_values},
    url_text,
    yaml::{Node, Scalar, Value},
};

/// Replaces every secret by `<secret>` and the passwords in URLs, wherever they stand, by `xxxxx`.
pub(crate) fn mask(root: &mut Node) {
    visit_values(&MAIN, root, &mut |kind, node| {
        if matches!(kind, Kind::Secret) {
            hide(node);
        }
    });
    mask_urls(root);
}

/// Hides all that stands where a secret belongs, whatever its shape; sections of unsupported discovery are not checked.
fn hide(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) if scalar.as_text().is_empty() => {}
        Value::Scalar(scalar) => *scalar = Scalar::plain("<secret>"),
        Value::List(items) => items.iter_mut().for_each(hide),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| hide(&mut entry.value)),
    }
}

fn mask_urls(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) if scalar.text.contains("://") => scalar.text = url_text::mask_password(&scalar.text),
        Value::Scalar(_) => {}
        Value::List(items) => items.iter_mut().for_each(mask_urls),
        Value::Map(entries) => entries.iter_mut().for_each(|entry| mask_urls(&mut entry.value)),
    }
}
