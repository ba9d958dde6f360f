"""Commands on cohorts of scans: synthetic ones, and heatmaps of all scans."""
