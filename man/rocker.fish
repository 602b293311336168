complete --keep-order --exclusive --command rocker --arguments "(_ROCKER_COMPLETE=fish rocker -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
