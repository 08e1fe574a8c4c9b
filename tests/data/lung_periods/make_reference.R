# Lung cancer in periods of 90 days, most rows in the first ones: knots of a spline fall on each other or on the end.
# Run inside this folder (R 4.2.2, survival 3.5.3).
suppressPackageStartupMessages({library(survival); library(splines); library(jsonlite)})
l <- survival::lung; l <- l[!is.na(l$inst), ]; l$dead <- l$status - 1; l$female <- l$sex - 1; l$id <- seq_len(nrow(l))
d <- survSplit(Surv(time, dead) ~ ., l[, c("time", "dead", "female", "age", "id", "inst")], cut = seq(90, 990, 90),
               episode = "period")
d <- d[, c("id", "inst", "female", "age", "period", "dead")]; write.csv(d, "data.csv", row.names = FALSE)
fit <- function(f, d) glm(f, binomial("cloglog"), d, control = glm.control(epsilon = 1e-14, maxit = 200))
numbers <- function(f) list(coef = as.list(coef(f)[c("female", "age")]),
  se = as.list(sqrt(diag(vcov(f)))[c("female", "age")]), loglik = as.numeric(logLik(f)))
print(quantile(d$period, 1:3 / 4)); third <- rbind(d, d[rep(which(d$period == 3), 3), ])
print(quantile(third$period, 1:3 / 4))
# a knot on the end moves an eighth of the way to the next, as splines::ns does from R 4.3 on
write_json(list(knot_on_the_end = numbers(fit(dead ~ female + age + ns(period, knots = c(1 + 2 / 8, 3, 4),
                                                                       Boundary.knots = c(1, 12)), d)),
  equal_knots = numbers(fit(dead ~ female + age + ns(period, 4), third))), "reference.json", digits = NA, auto_unbox = TRUE)
