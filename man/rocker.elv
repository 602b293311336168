
set edit:completion:arg-completer[rocker] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) _ROCKER_COMPLETE="elvish" rocker -- $@words) | to-lines
}

