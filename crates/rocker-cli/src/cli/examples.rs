//! The examples that the help of every command ends with are command lines that are understood.

use std::ffi::OsString;

use clap::Command;

use super::{Parsed, documentation, parse};

/// A part of a line for a shell.
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// One of `|`, `&`, `;`, `<` and `>`.
    Operator(char),
}

/// As a shell reads it, as far as examples go: blanks, both quotes, operators of one character.
fn tokens(line: &str) -> Vec<Token> {
    let (mut tokens, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => tokens.extend(word.take().map(Token::Word)),
            (None, '|' | '&' | ';' | '<' | '>') => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Operator(character));
            }
            (_, _) => word.get_or_insert_default().push(character),
        }
    }
    tokens.extend(word.map(Token::Word));
    tokens
}

/// What follows each `rocker` of a line, without what is said to the shell.
fn commands(line: &str) -> Vec<Vec<OsString>> {
    let mut commands: Vec<Vec<OsString>> = Vec::new();
    let (mut is_ours, mut is_file) = (false, false);
    for token in tokens(line) {
        match token {
            Token::Operator('<' | '>') => is_file = true,
            Token::Operator(_) => is_ours = false,
            Token::Word(_) if is_file => is_file = false,
            Token::Word(word) if !is_ours && word == "rocker" => {
                is_ours = true;
                commands.push(Vec::new());
            }
            Token::Word(word) => {
                if let Some(words) = commands.last_mut().filter(|_| is_ours) {
                    words.push(word.into());
                }
            }
        }
    }
    commands
}

fn examples(command: &Command, found: &mut Vec<String>) {
    let text = command.get_after_long_help().map(ToString::to_string);
    let lines = text.iter().flat_map(|text| text.lines());
    found.extend(lines.filter_map(|line| line.strip_prefix("  ").map(str::to_owned)));
    for inner in command.get_subcommands() {
        examples(inner, found);
    }
}

#[test]
fn lines_for_a_shell_are_taken_apart() {
    let words = |line: &str| {
        let commands = commands(line).into_iter();
        let joined = commands.map(|words| words.join(&OsString::from("+")));
        joined.collect::<Vec<_>>()
    };
    for (line, expected) in [
        ("rocker ps -a", &["ps+-a"][..]),
        ("rocker rmi 'app:*' \"a b\"", &["rmi+app:*+a b"]),
        ("rocker login quay.io < token", &["login+quay.io"]),
        ("rocker completion bash >/etc/x/y", &["completion+bash"]),
        (
            "rocker image exists a || rocker pull a",
            &["image+exists+a", "pull+a"],
        ),
        ("rocker save a | ssh host rocker load", &["save+a", "load"]),
        ("docker save a | rocker load", &["load"]),
        ("rocker history --format ''", &["history+--format+"]),
    ] {
        assert_eq!(words(line), expected, "{line}");
    }
}

#[test]
fn every_example_is_understood() {
    let mut lines = Vec::new();
    examples(&documentation(), &mut lines);
    assert!(lines.len() > 50, "{lines:?}");
    for line in lines {
        let commands = commands(&line);
        assert!(!commands.is_empty(), "{line:?} is not about rocker");
        for words in commands {
            let parsed = parse(&words);
            assert!(
                matches!(parsed, Ok(Parsed::Command { .. })),
                "{line:?}: {parsed:?}"
            );
        }
    }
}
