# Completion of ssmx for elvish: eval (ssmx completion elvish | slurp)
use str
set edit:completion:arg-completer[ssmx] = {|@words|
    e:ssmx __complete elvish (to-string (- (count $words) 1)) $@words 2>/dev/null | each {|line|
        var parts = [(str:split "\t" $line)]
        if (== (count $parts) 1) {
            put $line
        } else {
            edit:complex-candidate $parts[0] &display=$parts[0]" ("$parts[1]")"
        }
    }
}
