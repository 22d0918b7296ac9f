// Names releases where asv shows the hashes of their commits, and the two frameworks apart.
"use strict";

$(document).ready(function () {
    var index = $.asv.main_json;
    var names = {}; // of releases, by the hash as asv shows it

    // asv hands over its index when it has loaded it
    Object.defineProperty($.asv, "main_json", {
        get: function () { return index; },
        set: function (loaded) {
            index = loaded;
            var all = loaded.tags;
            $.each(all, function (tag, revision) { names[$.asv.get_commit_hash(revision)] = tag; });
            Object.defineProperty(loaded, "tags", { get: function () { return ofFramework(all); } });
            select();
        },
    });
    $(window).on("hashchange", select);

    // A line through a single release is nothing that one sees.
    var plot = $.plot;
    $.plot = $.extend(function (target, data, options) {
        var points = data.reduce(function (sum, series) { return sum + (series.data || series).length; }, 0);
        var shown = points === 1 ? $.extend(true, {}, options, { series: { points: { show: true } } }) : options;
        return plot(target, data, shown);
    }, plot);

    // Opens a benchmark on the Python and the branch that have its history.
    function select() {
        var name = decodeURIComponent(window.location.hash.slice(1));
        if (outliveHistories[name]) {
            window.location.replace("#" + name + "?" + $.param(outliveHistories[name]));
        }
    }

    // Only the releases of the framework that a graph shows, by their versions.
    function ofFramework(all) {
        var name = $.asv.parse_hash_string(window.location.hash).location[0];
        var framework = (index.benchmarks[name] || {}).framework;
        if (!framework) {
            return all;
        }
        var own = {};
        $.each(all, function (tag, revision) {
            if (tag.indexOf(framework + "-") === 0) {
                own[tag.slice(framework.length + 1)] = revision;
            }
        });
        return own;
    }

    // What nobody measured has no picture, as where a scenario makes no sense over a connection.
    function hideEmpty(node) {
        if (node.classList && node.classList.contains("benchmark-container")) {
            $(node).toggle(Boolean(outliveHistories[decodeURIComponent(node.hash.slice(1))]));
        }
    }

    function nameReleases(node) {
        if (node.nodeType === Node.TEXT_NODE) {
            var text = node.data.replace(/\b[0-9a-f]{8}\b/g, function (hash) { return names[hash] || hash; });
            text = text.replace("Infinityx", "from none");
            if (text !== node.data) {
                node.data = text;
            }
        } else {
            node.childNodes.forEach(nameReleases);
        }
    }

    new MutationObserver(function (changes) {
        changes.forEach(function (change) {
            change.addedNodes.forEach(nameReleases);
            change.addedNodes.forEach(hideEmpty);
        });
    }).observe(document.body, { childList: true, subtree: true });
});
