//! As much of a shell as documents need: lines, words, and where a command ends.

/// A fenced block of a document.
#[derive(Clone, Debug)]
pub struct Block {
    /// What it says it is: `sh`, `text`, `rust`.
    pub language: String,
    pub lines: Vec<String>,
    /// Line of the document at which it begins, from 1.
    pub at: usize,
}

/// The fenced blocks of a document, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (i, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), lines: Vec::new(), at: i + 1 });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// What stands in single backquotes on one line, outside of fenced blocks.
pub fn inline(text: &str) -> Vec<String> {
    let mut is_code = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    prose.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// Lines as a shell sees them: one that ends in a backslash goes on in the next.
pub fn joined(lines: &[String]) -> Vec<String> {
    let (mut all, mut open) = (Vec::new(), String::new());
    for line in lines {
        match line.strip_suffix('\\') {
            Some(part) => open.push_str(part),
            None => all.push(std::mem::take(&mut open) + line),
        }
    }
    all
}

/// The commands of a line, each as its words: without quotes, comments and redirections. Variables stay as they are.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    // Whether the next word is the file of a redirection.
    let (mut quote, mut redirected) = (None::<char>, false);
    for c in line.chars().chain(['\n']) {
        let ends = quote.is_none() && (c.is_whitespace() || "|;&<>".contains(c));
        if ends
            && let Some(word) = word.take()
            && !std::mem::take(&mut redirected)
        {
            words.push(word);
        }
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '&') => commands.push(std::mem::take(&mut words)),
            (None, '>' | '<') => redirected = true,
            (None, c) if c.is_whitespace() => {}
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    commands
}

#[test]
fn words_are_those_of_a_shell() {
    let found = commands("a 'b c' \"d\" < in.txt > out.txt --e={} # f");
    assert_eq!(found, [["a", "b c", "d", "--e={}"].map(str::to_owned).to_vec()]);
    let found = commands("mkdir x; run --a '{\"b\": 1}' | sort && end");
    let found: Vec<String> = found.iter().map(|words| words.join("+")).collect();
    assert_eq!(found, ["mkdir+x", "run+--a+{\"b\": 1}", "sort", "end"]);
}
