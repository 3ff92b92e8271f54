//! Texts without what is written on and beside letters.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Code points after canonical decomposition.
pub(super) fn decomposed(text: &str) -> Vec<char> {
    text.nfd().collect()
}

/// The text decomposed, without combining marks, modifier letters (superscripts such as `ʰ` and `ʲ`, stress marks) and
/// length marks.
///
/// ```
/// use grapheme_train::report::without_diacritics;
///
/// assert_eq!(without_diacritics("tʰ ɑ̃ː ˈé"), "t ɑ e");
/// ```
pub fn without_diacritics(text: &str) -> String {
    text.nfd().filter(|&c| !is_combining_mark(c) && !is_modifier_letter(c)).collect()
}

/// The modifier letters (general category Lm) of the blocks that phonetic alphabets take them from. Tone letters
/// (category Sk) are none: they stand for themselves.
fn is_modifier_letter(c: char) -> bool {
    matches!(c, '\u{2B0}'..='\u{2C1}' | '\u{2C6}'..='\u{2D1}' | '\u{2E0}'..='\u{2E4}' | '\u{2EC}' | '\u{2EE}'
        | '\u{1D2C}'..='\u{1D6A}' | '\u{1D78}' | '\u{1D9B}'..='\u{1DBF}' | '\u{2071}' | '\u{207F}'
        | '\u{2090}'..='\u{209C}' | '\u{A71B}'..='\u{A71F}' | '\u{AB5C}'..='\u{AB5F}'
        | '\u{10780}'..='\u{107BA}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_modifiers_go_and_letters_and_tones_stay() {
        let cases = [
            ("aː", "a"),
            ("aˑ", "a"),
            ("ˈkʲɔ", "kɔ"),
            ("ɲ̩ n̪", "ɲ n"),
            ("řídí", "ridi"),
            ("˧˥ ˩", "˧˥ ˩"),
            ("t͡ʃ", "tʃ"),
            ("ⁿd", "d"),
            ("", ""),
            ("각", "\u{1100}\u{1161}\u{11A8}"),
        ];
        for (text, bare) in cases {
            assert_eq!(without_diacritics(text), bare, "{text:?}");
        }
    }
}
